/** Arrays on the host in float64, by the plainest loops there are: what results are held against. */

/** A row-major array. */
export interface Host {
  readonly shape: readonly number[];
  readonly data: readonly number[];
}

/** The product of all sizes. */
export function numel(shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, 1);
}

/** An array whose element at each index is what a function says. */
export function host(
  shape: readonly number[],
  at: (index: number[], place: number) => number,
): Host {
  const data = Array.from({ length: numel(shape) }, (_, place) => at(indexOf(place, shape), place));
  return { shape, data };
}

/** The index of a row-major place. */
export function indexOf(place: number, shape: readonly number[]): number[] {
  const index = new Array<number>(shape.length);
  let rest = place;
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    index[axis] = rest % shape[axis]!;
    rest = Math.floor(rest / shape[axis]!);
  }
  return index;
}

/** The row-major place of an index. */
export function placeOf(index: readonly number[], shape: readonly number[]): number {
  return index.reduce((place, i, axis) => place * shape[axis]! + i, 0);
}

/** The element at an index of a shape to which the array broadcasts. */
export function broadcastAt({ shape, data }: Host, index: readonly number[]): number {
  const own = index.slice(index.length - shape.length);
  return data[placeOf(own.map((i, axis) => shape[axis] === 1 ? 0 : i), shape)]!;
}

/** The shape that all broadcast to, or `undefined` if there is none. */
export function commonShape(shapes: readonly (readonly number[])[]): number[] | undefined {
  const rank = Math.max(0, ...shapes.map(({ length }) => length));
  const common = Array.from({ length: rank }, (_, axis) => {
    const sizes = shapes.map((shape) => shape[axis - rank + shape.length] ?? 1);
    return sizes.find((size) => size !== 1) ?? 1;
  });
  const fits = shapes.every((shape) =>
    shape.every((size, axis) => size === 1 || size === common[axis + rank - shape.length])
  );
  return fits ? common : undefined;
}

/** A function of each element. */
export function mapped({ shape, data }: Host, fn: (x: number) => number): Host {
  return { shape, data: data.map(fn) };
}

/** A function of the elements of several arrays that broadcast. */
export function zipped(arrays: readonly Host[], fn: (...xs: number[]) => number): Host {
  const shape = commonShape(arrays.map((array) => array.shape))!;
  return host(shape, (index) => fn(...arrays.map((array) => broadcastAt(array, index))));
}

/** Axes in another order. */
export function permuted(array: Host, order: readonly number[]): Host {
  const shape = order.map((axis) => array.shape[axis]!);
  return host(shape, (index) => {
    const from = new Array<number>(order.length);
    order.forEach((axis, i) => from[axis] = index[i]!);
    return array.data[placeOf(from, array.shape)]!;
  });
}

/** The same elements under another shape. */
export function reshaped({ data }: Host, shape: readonly number[]): Host {
  return { shape, data };
}

/** A function of all elements along some axes, which are kept at size 1 or dropped. */
export function reduced(
  array: Host,
  axes: readonly number[],
  keepDim: boolean,
  fn: (xs: number[]) => number,
): Host {
  const { shape, data } = array;
  const kept = shape.map((size, axis) => axes.includes(axis) ? 1 : size);
  const lists: number[][] = Array.from({ length: numel(kept) }, () => []);
  data.forEach((x, place) => {
    const index = indexOf(place, shape).map((i, axis) => axes.includes(axis) ? 0 : i);
    lists[placeOf(index, kept)]!.push(x);
  });
  return { shape: keepDim ? kept : shape.filter((_, i) => !axes.includes(i)), data: lists.map(fn) };
}

/** A function of each row along an axis that gives a row as long. */
export function byRow(array: Host, axis: number, fn: (xs: number[]) => number[]): Host {
  const order = array.shape.map((_, i) => i).filter((i) => i !== axis).concat(axis);
  const moved = permuted(array, order);
  const length = array.shape[axis]!;
  const data: number[] = [];
  for (let at = 0; at < moved.data.length; at += length) {
    data.push(...fn(moved.data.slice(at, at + length)));
  }
  return permuted({ shape: moved.shape, data }, order.map((_, i) => order.indexOf(i)));
}

/** `[..., M, K]` times `[..., K, N]`, whose leading axes broadcast. */
export function product(a: Host, b: Host): Host {
  const [K] = b.shape.slice(-2);
  const lead = commonShape([a.shape.slice(0, -2), b.shape.slice(0, -2)])!;
  return host([...lead, a.shape.at(-2)!, b.shape.at(-1)!], (index) => {
    const batch = index.slice(0, -2);
    const [row, column] = index.slice(-2) as [number, number];
    let sum = 0;
    for (let k = 0; k < K!; k++) {
      sum += broadcastAt(a, [...batch, row, k]) * broadcastAt(b, [...batch, k, column]);
    }
    return sum;
  });
}

/** Sum of numbers. */
export function sum(xs: readonly number[]): number {
  return xs.reduce((a, b) => a + b, 0);
}

/** Softmax of a row; zeros where all are -inf. */
export function softmaxRow(xs: readonly number[]): number[] {
  const top = Math.max(...xs);
  if (top === -Infinity) return xs.map(() => 0);
  const exponentials = xs.map((x) => Math.exp(x - top));
  const total = sum(exponentials);
  return exponentials.map((x) => x / total);
}

/** log(sum(exp(x))) of a row. */
export function logSumExpRow(xs: readonly number[]): number {
  const top = Math.max(...xs);
  if (!Number.isFinite(top)) return top;
  return top + Math.log(sum(xs.map((x) => Math.exp(x - top))));
}

/** A row with mean 0 and variance 1. */
export function normalizedRow(xs: readonly number[], epsilon: number): number[] {
  const mean = sum(xs) / xs.length;
  const variance = sum(xs.map((x) => (x - mean) ** 2)) / xs.length;
  return xs.map((x) => (x - mean) / Math.sqrt(variance + epsilon));
}

/** The standard normal distribution, by its series. */
export function normalCdf(x: number): number {
  if (Number.isNaN(x)) return NaN;
  if (Math.abs(x) > 9) return x > 0 ? 1 : 0; // The rest is below 1e-18.
  let total = 0;
  for (let term = Math.abs(x), k = 3; term > total * 2 ** -60; term *= x * x / k, k += 2) {
    total += term;
  }
  return 0.5 + Math.sign(x) * Math.exp(-x * x / 2) / Math.sqrt(2 * Math.PI) * total;
}

/** The exact gelu. */
export function gelu(x: number): number {
  return x === -Infinity ? 0 : x * normalCdf(x);
}

/** Numbers of standard deviation about 1, the same each time, that an f32 holds. */
export function someNumbers(count: number, seed: number, spread = 1): number[] {
  let state = Math.imul(seed + 1, 0x9e3779b1) >>> 0;
  const uniform = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32 - 0.5;
  };
  // A sum of three uniform numbers has variance 1/4.
  return Array.from(
    { length: count },
    () => Math.fround(2 * spread * (uniform() + uniform() + uniform())),
  );
}
