/**
 * Attention on the CPU in float64, by plain loops: what every kernel is held against, and the place
 * to read first.
 *
 *     S   = scale * Q K^T + bias         [B, H, Mq, Mkv]
 *     P   = softmax over the keys of S   exp(S - lse)
 *     out = (P Z) V                      [B, Mq, H, Kv], Z the factors of dropout, all 1 without it
 *     lse = log sum over keys exp(S)     [B, H, Mq]
 *
 * One query at a time: time O(B H Mq Mkv (K + Kv)), memory beyond the tensors O(Mkv). The kernels
 * compute the same and differ in the order: they take keys in tiles and correct the softmax as they
 * go.
 */

import { formatShape, numel } from "../gpu/shape.ts";

/** A contiguous tensor on the CPU. */
export interface ReferenceTensor {
  /** Sizes of the axes. */
  readonly shape: readonly number[];
  /** Elements in row-major order. */
  readonly data: ArrayLike<number>;
}

/** What is added to the scores, or which of them count. */
export interface ReferenceBias extends ReferenceTensor {
  /** Broadcasts to `[B, H, Mq, Mkv]`; to `[B, Mq, Mkv]` or `[B, G, H, Mq, Mkv]` by rank. */
  readonly shape: readonly number[];
  /** Whether the elements say "may attend" (nonzero) and "may not" instead of being added. */
  readonly boolean?: boolean;
}

/** Options of {@linkcode referenceAttention}. */
export interface ReferenceOptions {
  /** Factor on `Q K^T`; `K ** -0.5` unless given, and 1 when K is 0. 0 is legal. */
  readonly scale?: number;
  /** Added to the scaled scores; a key whose bias is -Infinity is not allowed. */
  readonly bias?: ReferenceBias;
  /** Whether query `i` may attend to key `j`. For 5-D inputs `h` counts through all groups. */
  readonly allowed?: (b: number, h: number, i: number, j: number) => boolean;
  /** Added to the scaled scores as well; never asked of a key that is not allowed. */
  readonly added?: (b: number, h: number, i: number, j: number) => number;
  /** Factor on the weight of a key, behind the softmax; a value whose weight is 0 is not looked at. */
  readonly factor?: (b: number, h: number, i: number, j: number) => number;
}

/** What {@linkcode referenceAttention} returns. */
export interface ReferenceResult {
  /** The attention's output, of the query's rank, with Kv as the last size. */
  readonly out: { readonly shape: number[]; readonly data: Float64Array };
  /** Log-sum-exp of the scores: `[B, H, Mq]`, with H = 1 for 3-D and `[B, G, H, Mq]` for 5-D. */
  readonly lse: { readonly shape: number[]; readonly data: Float64Array };
}

/** Every input as if it were 5-D: `[B, M, G, H, K]`. */
export interface ReferenceSizes {
  readonly rank: number;
  readonly B: number;
  readonly Mq: number;
  readonly Mkv: number;
  readonly G: number;
  readonly H: number;
  readonly Hkv: number;
  readonly K: number;
  readonly Kv: number;
}

/** What one query attends to. */
export interface AttendedKeys {
  /** The keys that it may see, in their order. */
  readonly keys: readonly number[];
  /** The softmax of their scores. */
  readonly weights: readonly number[];
  /** Log-sum-exp of their scores; -Infinity without keys. */
  readonly lse: number;
}

/** A number for query i and key j of a head. */
type ForPair = (b: number, g: number, h: number, i: number, j: number) => number;

/**
 * Attention by its definition.
 *
 * A key that is not allowed is not read, so NaN in it stays out of the result. A query with no
 * allowed key gives out 0 and lse -Infinity. If the key and value have fewer heads than the query,
 * each serves `H / Hkv` query heads in turn (grouped-query attention).
 *
 * @param query `[B, Mq, H, K]`; or `[B, Mq, K]`, or `[B, Mq, G, H, K]`.
 * @param key `[B, Mkv, Hkv, K]`, of the query's rank.
 * @param value `[B, Mkv, Hkv, Kv]`, of the query's rank.
 * @param options Scale, bias and mask.
 * @returns The output and the log-sum-exp of the scores.
 *
 * @example Two keys that score alike share the weight
 * ```ts ignore
 * const { out } = referenceAttention(
 *   { shape: [1, 1, 1], data: [1] },
 *   { shape: [1, 2, 1], data: [5, 5] },
 *   { shape: [1, 2, 1], data: [10, 20] },
 * );
 * out.data; // [15]
 * ```
 */
export function referenceAttention(
  query: ReferenceTensor,
  key: ReferenceTensor,
  value: ReferenceTensor,
  options: ReferenceOptions = {},
): ReferenceResult {
  const sizes = referenceSizes(query, key, value);
  const { rank, B, Mq, Mkv, G, H, Hkv, Kv } = sizes;
  const { factor = () => 1 } = options;
  const attend = attendedKeys(query, key, sizes, options);
  const out = new Float64Array(B * Mq * G * H * Kv);
  const lse = new Float64Array(B * G * H * Mq);

  for (let b = 0; b < B; b++) {
    for (let g = 0; g < G; g++) {
      for (let h = 0; h < H; h++) {
        const hkv = Math.floor(h / (H / Hkv));
        for (let i = 0; i < Mq; i++) {
          const attended = attend(b, g, h, i);
          lse[((b * G + g) * H + h) * Mq + i] = attended.lse;

          // Values, each by the weight of its key.
          const outRow = (((b * Mq + i) * G + g) * H + h) * Kv;
          for (const [n, j] of attended.keys.entries()) {
            const weight = factor(b, g * H + h, i, j) * attended.weights[n]!;
            if (weight === 0) continue;
            const valueRow = (((b * Mkv + j) * G + g) * Hkv + hkv) * Kv;
            for (let k = 0; k < Kv; k++) {
              out[outRow + k] = out[outRow + k]! + weight * value.data[valueRow + k]!;
            }
          }
        }
      }
    }
  }

  return {
    out: { shape: [...query.shape.slice(0, -1), Kv], data: out },
    lse: { shape: rank === 5 ? [B, G, H, Mq] : [B, H, Mq], data: lse },
  };
}

/** For query i of a head: the keys that it may see, and the softmax of their scores. */
export function attendedKeys(
  query: ReferenceTensor,
  key: ReferenceTensor,
  sizes: ReferenceSizes,
  options: ReferenceOptions,
): (b: number, g: number, h: number, i: number) => AttendedKeys {
  const { Mq, Mkv, G, H, Hkv, K } = sizes;
  const { allowed = () => true, added = () => 0 } = options;
  const scale = referenceScale(options, sizes);
  const biasAt = biasReader(options.bias, sizes);
  return (b, g, h, i) => {
    const queryRow = (((b * Mq + i) * G + g) * H + h) * K;
    const hkv = Math.floor(h / (H / Hkv));
    const keys: number[] = [];
    const scores: number[] = [];
    for (let j = 0; j < Mkv; j++) {
      const bias = biasAt(b, g, h, i, j);
      if (bias === -Infinity || !allowed(b, g * H + h, i, j)) continue;
      const keyRow = (((b * Mkv + j) * G + g) * Hkv + hkv) * K;
      let dot = 0;
      for (let k = 0; k < K; k++) dot += query.data[queryRow + k]! * key.data[keyRow + k]!;
      keys.push(j);
      scores.push(scale * dot + bias + added(b, g * H + h, i, j));
    }

    // Less the greatest score, so that exp cannot overflow.
    const greatest = scores.reduce((a, s) => Math.max(a, s), -Infinity);
    const sum = scores.reduce((a, s) => a + Math.exp(s - greatest), 0);
    const weights = scores.map((score) => Math.exp(score - greatest) / sum);
    return { keys, weights, lse: greatest + Math.log(sum) };
  };
}

/** The factor on `Q K^T`. */
export function referenceScale({ scale }: ReferenceOptions, { K }: ReferenceSizes): number {
  return scale ?? (K === 0 ? 1 : K ** -0.5);
}

/** Checks that the three shapes go together and names their sizes. */
export function referenceSizes(
  query: ReferenceTensor,
  key: ReferenceTensor,
  value: ReferenceTensor,
): ReferenceSizes {
  const rank = query.shape.length;
  const shapes = `query ${formatShape(query.shape)}, key ${formatShape(key.shape)}, value ${
    formatShape(value.shape)
  }`;
  if (rank < 3 || rank > 5 || key.shape.length !== rank || value.shape.length !== rank) {
    throw new TypeError(
      `Cannot run attention: expected three tensors of rank 3, 4 or 5: ${shapes}`,
    );
  }
  for (const [name, { shape, data }] of Object.entries({ query, key, value })) {
    assertLength(name, shape, data);
  }
  const [B, Mq, G, H, K] = asGrouped(query.shape);
  const [Bk, Mkv, Gk, Hkv, Kk] = asGrouped(key.shape);
  const [Bv, Mv, Gv, Hv, Kv] = asGrouped(value.shape);
  if (Bk !== B || Bv !== B || Gk !== G || Gv !== G || Mv !== Mkv || Hv !== Hkv || Kk !== K) {
    throw new RangeError(`Cannot run attention: sizes disagree: ${shapes}`);
  }
  if (H !== Hkv && !(Hkv > 0 && H % Hkv === 0)) {
    throw new RangeError(
      `Cannot run attention: ${Hkv} key heads do not divide ${H} query heads: ${shapes}`,
    );
  }
  return { rank, B, Mq, Mkv, G, H, Hkv, K, Kv };
}

/** `[B, M, G, H, K]` of a shape that may lack G, or G and H. */
function asGrouped(shape: readonly number[]): [number, number, number, number, number] {
  const missing = new Array<number>(5 - shape.length).fill(1);
  const [B, M, G, H, K] = [...shape.slice(0, 2), ...missing, ...shape.slice(2)];
  return [B!, M!, G!, H!, K!];
}

/** Reads a bias; -Infinity where the key is not allowed. */
function biasReader(bias: ReferenceBias | undefined, sizes: ReferenceSizes): ForPair {
  if (bias === undefined) return () => 0;
  const { data, boolean = false } = bias;
  const placeOf = biasPlaces(bias, sizes);
  return (b, g, h, i, j) => {
    const element = data[placeOf(b, g, h, i, j)]!;
    return boolean ? (element === 0 ? -Infinity : 0) : element;
  };
}

/** Where the elements of a bias stand in its data, with axes of size 1 repeated. */
export function biasPlaces({ shape, data }: ReferenceBias, sizes: ReferenceSizes): ForPair {
  const { rank, B, G, H, Mq, Mkv } = sizes;
  const full = rank === 3 ? [B, Mq, Mkv] : rank === 4 ? [B, H, Mq, Mkv] : [B, G, H, Mq, Mkv];
  const padded = [...new Array<number>(Math.max(0, rank - shape.length)).fill(1), ...shape];
  if (padded.length !== rank || padded.some((size, axis) => size !== 1 && size !== full[axis])) {
    throw new RangeError(
      `Cannot run attention: bias ${formatShape(shape)} does not broadcast to ${formatShape(full)}`,
    );
  }
  assertLength("bias", shape, data);
  return (b, g, h, i, j) => {
    const index = rank === 3 ? [b, i, j] : rank === 4 ? [b, h, i, j] : [b, g, h, i, j];
    return padded.reduce((at, size, axis) => at * size + (size === 1 ? 0 : index[axis]!), 0);
  };
}

/** Checks that there are as many elements as the shape says. */
export function assertLength(
  name: string,
  shape: readonly number[],
  data: ArrayLike<number>,
): void {
  const count = numel(shape);
  if (data.length === count) return;
  throw new RangeError(
    `Cannot run attention: ${name} ${
      formatShape(shape)
    } has ${data.length} elements, expected ${count}`,
  );
}
