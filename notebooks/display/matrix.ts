/** Matrices on the host, made no larger than a picture can show. */
import { noGrad, type Tensor, type TensorData } from "../../mod.ts";

/** The most elements of a tensor that are read back; of larger ones only every n-th row and column is. */
const MOST_ELEMENTS = 2 ** 22;

/** A matrix, or what is left of it. */
export interface Matrix {
  readonly rows: number;
  readonly columns: number;
  /** In row-major order. */
  readonly values: ArrayLike<number>;
  /** How many rows, and as many columns, of the original one element stands for. */
  readonly block: number;
  /** The original's every how-manieth row and column was read. */
  readonly step: number;
}

/**
 * Reads a tensor of two axes back.
 *
 * @param tensor A matrix of any element type; bools are 0 and 1.
 * @param limit The most rows and the most columns of the result.
 */
export async function readMatrix(tensor: Tensor, limit: number): Promise<Matrix> {
  const [rows, columns] = tensor.shape as [number, number];
  const step = Math.ceil(Math.sqrt(rows * columns / MOST_ELEMENTS)) || 1;
  if (step === 1) {
    return reduceMatrix(await tensor.data<TensorData>(), rows, columns, limit);
  }
  const everyRow = noGrad(() => tensor.slice(0, 0, rows, step));
  const view = noGrad(() => everyRow.slice(1, 0, columns, step));
  try {
    const [viewRows, viewColumns] = view.shape as [number, number];
    const reduced = reduceMatrix(await view.data<TensorData>(), viewRows, viewColumns, limit);
    return { ...reduced, block: reduced.block * step, step };
  } finally {
    view.dispose();
    everyRow.dispose();
  }
}

/**
 * Replaces square blocks by their means until the matrix is small enough. A block in which anything is
 * not finite becomes NaN, so that it is seen.
 */
export function reduceMatrix(
  values: ArrayLike<number>,
  rows: number,
  columns: number,
  limit: number,
): Matrix {
  const block = Math.max(1, Math.ceil(Math.max(rows, columns) / limit));
  if (block === 1) return { rows, columns, values, block, step: 1 };
  const height = Math.ceil(rows / block);
  const width = Math.ceil(columns / block);
  const sums = new Float64Array(height * width);
  for (let row = 0; row < rows; row++) {
    const start = Math.floor(row / block) * width;
    for (let column = 0; column < columns; column++) {
      sums[start + Math.floor(column / block)]! += values[row * columns + column]!;
    }
  }
  const means = sums.map((sum, n) => {
    const top = Math.floor(n / width) * block;
    const left = n % width * block;
    const count = Math.min(block, rows - top) * Math.min(block, columns - left);
    return Number.isFinite(sum) ? sum / count : NaN;
  });
  return { rows: height, columns: width, values: means, block, step: 1 };
}

/** Smallest and largest of the finite elements; undefined if there are none. */
export function finiteRange(values: ArrayLike<number>): [number, number] | undefined {
  let low = Infinity;
  let high = -Infinity;
  for (let n = 0; n < values.length; n++) {
    const value = values[n]!;
    if (!Number.isFinite(value)) continue;
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return low > high ? undefined : [low, high];
}
