/**
 * The gradients of attention on the CPU in float64, by plain loops: what every backward kernel is held
 * against, and the place to read the maths first. The forward pass, for query i and key j of a head,
 * is (see `reference.ts`)
 *
 *     S_ij  = scale * Q_i . K_j + bias_ij
 *     P_ij  = exp(S_ij) / sum over l of exp(S_il) = exp(S_ij - lse_i)
 *     out_i = sum over j of Z_ij P_ij V_j              Z the factors of dropout, all 1 without it
 *
 * Let dX be the derivative of a loss by X. dO, that of `out`, is given, and dLse, that of `lse`, may be.
 * The output is linear in the values and in the weights:
 *
 *     dV_j  = sum over i of Z_ij P_ij dO_i
 *     dP_ij = Z_ij (dO_i . V_j)
 *
 * The softmax ties the scores of a row together: dP_ij / dS_il = P_ij ((j = l) - P_il). So what a score
 * gets is the gradient of its weight, less the weighted mean D_i of those of its whole row:
 *
 *     dS_ij = P_ij (dP_ij - D_i)                       D_i = sum over l of P_il dP_il
 *
 * D_i needs no second pass over the keys, for it is sum_l P_il Z_il (dO_i . V_l) = dO_i . out_i. That is
 * what lets kernels work in tiles: given lse_i and D_i, every pair (i, j) stands alone. The log-sum-exp
 * has dlse_i / dS_ij = P_ij, which only takes dLse_i off D_i:
 *
 *     D_i   = dO_i . out_i - dLse_i
 *
 * Scores are bilinear in query and key, and the bias is added:
 *
 *     dQ_i  = scale * sum over j of dS_ij K_j
 *     dK_j  = scale * sum over i of dS_ij Q_i
 *     dBias = dS, summed over the axes along which the bias is broadcast
 *
 * A key or value that several query heads share gets the sum over them.
 */
import {
  assertLength,
  attendedKeys,
  biasPlaces,
  referenceAttention,
  type ReferenceOptions,
  referenceScale,
  referenceSizes,
  type ReferenceTensor,
} from "./reference.ts";
import { formatShape, sameShape } from "../gpu/shape.ts";

/** Options of {@linkcode referenceAttentionGradients}. */
export interface ReferenceGradientOptions extends ReferenceOptions {
  /** Gradient of the log-sum-exp, of its shape; 0 unless given. That of a row without keys counts for nothing. */
  readonly lseGradient?: ReferenceTensor;
}

/** A gradient, of its input's shape. */
export interface ReferenceGradient {
  /** Sizes of the axes. */
  readonly shape: readonly number[];
  /** Elements in row-major order. */
  readonly data: Float64Array;
}

/** What {@linkcode referenceAttentionGradients} returns. */
export interface ReferenceGradients {
  /** By the query. */
  readonly dQuery: ReferenceGradient;
  /** By the key. */
  readonly dKey: ReferenceGradient;
  /** By the value. */
  readonly dValue: ReferenceGradient;
  /** By the bias, unless it is boolean or there is none. */
  readonly dBias: ReferenceGradient | undefined;
}

/**
 * Gradients of {@linkcode referenceAttention} by its definition: time O(B H Mq Mkv (K + Kv)), memory beyond
 * the tensors O(Mkv).
 *
 * A pair of query and key that is not allowed is not looked at, so NaN in the one does not reach the other;
 * nor does a pair whose weight is 0. A query without keys gets the gradient 0 and gives none.
 *
 * @param query As in the forward pass.
 * @param key As in the forward pass.
 * @param value As in the forward pass.
 * @param gradient Gradient of the output, of its shape.
 * @param options As in the forward pass, and the gradient of the log-sum-exp.
 * @throws {TypeError} For wrong ranks.
 * @throws {RangeError} For sizes that disagree.
 *
 * @example Values that are added up with equal weights share the gradient
 * ```ts ignore
 * const { dValue } = referenceAttentionGradients(
 *   { shape: [1, 1, 1], data: [1] },
 *   { shape: [1, 2, 1], data: [5, 5] },
 *   { shape: [1, 2, 1], data: [10, 20] },
 *   { shape: [1, 1, 1], data: [1] },
 * );
 * dValue.data; // [0.5, 0.5]
 * ```
 */
export function referenceAttentionGradients(
  query: ReferenceTensor,
  key: ReferenceTensor,
  value: ReferenceTensor,
  gradient: ReferenceTensor,
  options: ReferenceGradientOptions = {},
): ReferenceGradients {
  const sizes = referenceSizes(query, key, value);
  const { B, Mq, Mkv, G, H, Hkv, K, Kv } = sizes;
  const { bias, factor = () => 1, lseGradient } = options;
  const scale = referenceScale(options, sizes);
  const { out, lse } = referenceAttention(query, key, value, options);
  assertSameShape("gradient", gradient, out.shape);
  if (lseGradient) assertSameShape("lseGradient", lseGradient, lse.shape);
  const attend = attendedKeys(query, key, sizes, options);
  const dQuery = new Float64Array(B * Mq * G * H * K);
  const dKey = new Float64Array(B * Mkv * G * Hkv * K);
  const dValue = new Float64Array(B * Mkv * G * Hkv * Kv);
  const dBias = bias && !bias.boolean ? new Float64Array(bias.data.length) : undefined;
  const placeOf = dBias ? biasPlaces(bias!, sizes) : undefined;

  for (let b = 0; b < B; b++) {
    for (let g = 0; g < G; g++) {
      for (let h = 0; h < H; h++) {
        const hkv = Math.floor(h / (H / Hkv));
        for (let i = 0; i < Mq; i++) {
          const row = ((b * Mq + i) * G + g) * H + h;
          const [queryRow, outRow] = [row * K, row * Kv];
          const lseGrad = lseGradient?.data[((b * G + g) * H + h) * Mq + i] ?? 0;
          const mean = dot(Kv, gradient.data, outRow, out.data, outRow) - lseGrad; // D_i
          const { keys, weights } = attend(b, g, h, i);
          for (const [n, j] of keys.entries()) {
            const weight = weights[n]!;
            if (weight === 0) continue;
            const shared = ((b * Mkv + j) * G + g) * Hkv + hkv;
            const [keyRow, valueRow] = [shared * K, shared * Kv];
            const kept = factor(b, g * H + h, i, j);
            let weightGrad = 0; // dP_ij; a dropped weight has none.
            if (kept !== 0) {
              weightGrad = kept * dot(Kv, gradient.data, outRow, value.data, valueRow);
              addScaled(Kv, dValue, valueRow, kept * weight, gradient.data, outRow);
            }
            const scoreGrad = weight * (weightGrad - mean); // dS_ij
            addScaled(K, dQuery, queryRow, scale * scoreGrad, key.data, keyRow);
            addScaled(K, dKey, keyRow, scale * scoreGrad, query.data, queryRow);
            if (dBias) dBias[placeOf!(b, g, h, i, j)]! += scoreGrad;
          }
        }
      }
    }
  }

  return {
    dQuery: { shape: query.shape, data: dQuery },
    dKey: { shape: key.shape, data: dKey },
    dValue: { shape: value.shape, data: dValue },
    dBias: dBias && { shape: bias!.shape, data: dBias },
  };
}

/** The product of two rows of so many elements, from given places on. */
function dot(
  count: number,
  a: ArrayLike<number>,
  atA: number,
  b: ArrayLike<number>,
  atB: number,
): number {
  let sum = 0;
  for (let k = 0; k < count; k++) sum += a[atA + k]! * b[atB + k]!;
  return sum;
}

/** Adds a multiple of one row to another. */
function addScaled(
  count: number,
  to: Float64Array,
  at: number,
  factor: number,
  from: ArrayLike<number>,
  start: number,
): void {
  for (let k = 0; k < count; k++) to[at + k]! += factor * from[start + k]!;
}

function assertSameShape(
  name: string,
  { shape, data }: ReferenceTensor,
  expected: readonly number[],
): void {
  if (!sameShape(shape, expected)) {
    throw new RangeError(
      `Cannot run attention's gradients: ${name} has shape ${formatShape(shape)}, expected ${
        formatShape(expected)
      }`,
    );
  }
  assertLength(name, shape, data);
}
