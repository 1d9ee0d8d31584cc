/** Attention's results in float64 for a few rows, which is enough to tell right from wrong at any size. */

/** One head's inputs, `[M, K]` each in row-major order. */
export interface HeadInputs {
  readonly query: Float32Array;
  readonly key: Float32Array;
  readonly value: Float32Array;
  /** Gradient of the output; empty if there is none. */
  readonly gradient: Float32Array;
  /** K, the head dim of all four. */
  readonly K: number;
}

/** What a query sees. */
export interface RowTerms {
  /** First visible key. */
  readonly begin: number;
  /** One behind the last. */
  readonly end: number;
  /** Added to the scaled score of a key. */
  readonly added: (key: number) => number;
}

/** Weights of the visible keys, from `begin` on. */
function weightsOf(
  { query, key, K }: HeadInputs,
  row: number,
  { begin, end, added }: RowTerms,
): Float64Array {
  const scale = K ** -0.5;
  const scores = new Float64Array(end - begin);
  let max = -Infinity;
  for (let j = begin; j < end; j++) {
    let dot = 0;
    for (let d = 0; d < K; d++) dot += query[row * K + d]! * key[j * K + d]!;
    scores[j - begin] = dot * scale + added(j);
    max = Math.max(max, scores[j - begin]!);
  }
  let sum = 0;
  for (let n = 0; n < scores.length; n++) sum += scores[n] = Math.exp(scores[n]! - max);
  for (let n = 0; n < scores.length; n++) scores[n] = scores[n]! / sum;
  return scores;
}

/** A row of the output, `[K]`. */
export function outRow(head: HeadInputs, row: number, terms: RowTerms): Float64Array {
  return weighted(weightsOf(head, row, terms), head.value, head.K, terms.begin);
}

/** A row of the query's gradient, `[K]`. */
export function dQueryRow(head: HeadInputs, row: number, terms: RowTerms): Float64Array {
  const { weights, dWeights, delta } = rowGradients(head, row, terms);
  const dScores = weights.map((weight, n) => weight * (dWeights[n]! - delta) * head.K ** -0.5);
  return weighted(dScores, head.key, head.K, terms.begin);
}

/**
 * A row of the key's and of the value's gradient, `[K]` each, for several keys. They depend on every query that
 * sees the key: time O(Mq Mkv K).
 */
export function keyGradientRows(
  head: HeadInputs,
  keys: readonly number[],
  termsOf: (row: number) => RowTerms,
): { dKey: Float64Array; dValue: Float64Array }[] {
  const { query, gradient, K } = head;
  const rows = keys.map(() => ({ dKey: new Float64Array(K), dValue: new Float64Array(K) }));
  for (let i = 0; i < query.length / K; i++) {
    const terms = termsOf(i);
    const { weights, dWeights, delta } = rowGradients(head, i, terms);
    for (const [n, key] of keys.entries()) {
      if (key < terms.begin || key >= terms.end) continue;
      const weight = weights[key - terms.begin]!;
      const dScore = weight * (dWeights[key - terms.begin]! - delta) * K ** -0.5;
      const { dKey, dValue } = rows[n]!;
      for (let d = 0; d < K; d++) {
        dKey[d]! += dScore * query[i * K + d]!;
        dValue[d]! += weight * gradient[i * K + d]!;
      }
    }
  }
  return rows;
}

/** What the gradients of a row are made of; `delta` is the weighted mean of `dWeights`. */
function rowGradients(head: HeadInputs, row: number, terms: RowTerms) {
  const { value, gradient, K } = head;
  const weights = weightsOf(head, row, terms);
  const dWeights = new Float64Array(weights.length);
  let delta = 0;
  for (let n = 0; n < weights.length; n++) {
    let dot = 0;
    const from = (terms.begin + n) * K;
    for (let d = 0; d < K; d++) dot += gradient[row * K + d]! * value[from + d]!;
    dWeights[n] = dot;
    delta += weights[n]! * dot;
  }
  return { weights, dWeights, delta };
}

function weighted(
  weights: Float64Array,
  rows: Float32Array,
  K: number,
  begin: number,
): Float64Array {
  const sum = new Float64Array(K);
  for (const [n, weight] of weights.entries()) {
    for (let d = 0; d < K; d++) sum[d]! += weight * rows[(begin + n) * K + d]!;
  }
  return sum;
}
