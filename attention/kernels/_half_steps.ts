/**
 * Steps of the forward kernel with products in f16, two for one multiply-add of f32. What is summed in f16 is
 * short: a lane's part of a row, and a tile's part of the output; all else is f32. So an output is off by some
 * 2^-11 of the largest scores and values, where with products in f32 it is off by its own rounding alone.
 */
import { joinRows } from "./_steps.ts";

/** Scores: this lane's part of the products, joined to those of the rows that it owns. */
export const HALF_SCORES = /* wgsl */ `
      var s = array<array<vec4f, TILE_VECS>, OWN>();
      /* unroll */ for (var v = 0u; v < TILE_VECS; v++) {
        var parts = array<vec4f, ROWS>();
        /* unroll */ for (var c = 0u; c < 4; c++) {
          var products = array<Four, ROWS>();
          /* unroll */ for (var n = 0u; n < K_PARTS; n++) {
            let k = key_tile[at + 4u * v + c][n][lane];
            /* unroll */ for (var r = 0u; r < ROWS; r++) { products[r] += q[r][n] * k; }
          }
          /* unroll */ for (var r = 0u; r < ROWS; r++) {
            let pair = products[r].xy + products[r].zw;
            parts[r][c] = f32(pair.x) + f32(pair.y);
          }
        }
        ${joinRows("s", "parts")}
      }
`;

/** Output so far. A hidden value may be NaN, which a weight of zero would let through. */
export const HALF_OUTPUT = /* wgsl */ `
      var added = array<array<Four, V_PARTS>, ROWS>();
      /* unroll */ for (var v = 0u; v < TILE_VECS; v++) {
        var p = array<Four, ROWS>();
        /* unroll */ for (var r = 0u; r < ROWS; r++) { p[r] = Four(of_row(s[r / SHARED][v], r)); }
        if (is_whole && !HAS_BIAS && !HAS_DROPOUT) {
          /* unroll */ for (var c = 0u; c < 4; c++) {
            /* unroll */ for (var n = 0u; n < V_PARTS; n++) {
              let value = value_tile[at + 4u * v + c][n][lane];
              /* unroll */ for (var r = 0u; r < ROWS; r++) { added[r][n] += p[r][c] * value; }
            }
          }
        } else {
          /* unroll */ for (var c = 0u; c < 4; c++) {
            /* unroll */ for (var n = 0u; n < V_PARTS; n++) {
              let value = value_tile[at + 4u * v + c][n][lane];
              /* unroll */ for (var r = 0u; r < ROWS; r++) {
                added[r][n] += select(p[r][c] * value, Four(), p[r][c] == 0.0h);
              }
            }
          }
        }
      }
      /* unroll */ for (var r = 0u; r < ROWS; r++) {
        /* unroll */ for (var n = 0u; n < V_PARTS; n++) { o[r][n] += vec4f(added[r][n]); }
      }
`;
