/**
 * Masks as values. A mask says, for each query row, which run of keys the row may see; kernels, the
 * `math` op and `materialize` all take it from here, so a new mask is one class in this file.
 */
import { assertShape, formatShape, numel } from "../gpu/shape.ts";

/** A run of keys: from the first number up to but not including the second. */
export type KeyRange = readonly [begin: number, end: number];

/**
 * A mask that is described instead of stored. Pass one as `attnBias`; a `Tensor` there is an additive
 * bias, or a mask if its dtype is bool.
 */
export abstract class AttentionBias {
  /**
   * The keys that a query may see, as a run within `[0, keys)`. Neither bound falls from one query to
   * the next: kernels skip tiles by that.
   *
   * @param query Index of the query row.
   * @param queries Mq.
   * @param keys Mkv.
   */
  abstract keyRange(query: number, queries: number, keys: number): KeyRange;

  /**
   * The same in WGSL: `fn key_range(row: u32) -> vec2u`, which may use `params.queries` and
   * `params.keys`. It is part of the compiled kernel, so it must not hold sizes.
   */
  abstract readonly keyRangeWgsl: string;

  /**
   * The mask as an additive bias, on the CPU: 0 where a query may attend, -Infinity where it may not.
   * For tests and for looking at; kernels never make it.
   *
   * @param shape `[..., Mq, Mkv]`.
   * @returns The elements in row-major order. Time and memory O(elements).
   */
  materialize(shape: readonly number[]): Float32Array<ArrayBuffer> {
    assertShape(shape, "materialize a mask");
    if (shape.length < 2) {
      throw new RangeError(
        `Cannot materialize a mask: shape is ${formatShape(shape)}, expected [..., Mq, Mkv]`,
      );
    }
    const [queries, keys] = shape.slice(-2) as [number, number];
    const out = new Float32Array(numel(shape)).fill(-Infinity);
    for (let row = 0; row < out.length / Math.max(1, keys); row++) {
      const [begin, end] = this.keyRange(row % queries, queries, keys);
      out.fill(0, row * keys + begin, row * keys + end);
    }
    return out;
  }
}

/** No mask: every query sees every key. What `attnBias` undefined stands for inside. */
class NoMask extends AttentionBias {
  override readonly keyRangeWgsl =
    "fn key_range(row: u32) -> vec2u { return vec2u(0u, params.keys); }\n";

  override keyRange(_query: number, _queries: number, keys: number): KeyRange {
    return [0, keys];
  }
}

/** The one value of {@linkcode NoMask}. */
export const NO_MASK: AttentionBias = new NoMask();

/**
 * Causal attention: query `i` sees keys `j <= i`, counted from the top left corner also where Mq and
 * Mkv differ.
 *
 * @example A token sees itself and those before it
 * ```ts
 * import { LowerTriangularMask } from "@denoformers/attention";
 *
 * console.log(new LowerTriangularMask().materialize([2, 3])); // 0, -inf, -inf, 0, 0, -inf
 * ```
 */
export class LowerTriangularMask extends AttentionBias {
  /** Keys up to the row's own number. */
  override readonly keyRangeWgsl =
    "fn key_range(row: u32) -> vec2u { return vec2u(0u, min(row + 1u, params.keys)); }\n";

  /** Keys up to the query's own number. */
  override keyRange(query: number, _queries: number, keys: number): KeyRange {
    return [0, Math.min(query + 1, keys)];
  }
}
