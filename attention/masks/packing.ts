/** Batches of sequences put one after the other along M, and taken apart again. */
import { checkedArray } from "../../gpu/checks.ts";
import { formatShape } from "../../gpu/shape.ts";
import { cat } from "../../gpu/tensor/join.ts";
import { assertTensor } from "../../gpu/tensor/base.ts";
import type { Tensor } from "../../gpu/tensor/tensor.ts";
import { begins, total } from "./checks.ts";

/** The length of each row of each batch, for tensors `[B_i, M_i, ...]`; checks that they have both axes. */
export function lengthsOf(tensors: readonly Tensor[]): number[] {
  for (const [i, tensor] of checkedArray("pack tensors", "tensors", tensors).entries()) {
    assertTensor("pack tensors", `tensors[${i}]`, tensor);
  }
  return tensors.flatMap(({ shape }, i) => {
    if (shape.length < 2) {
      throw new TypeError(
        `Cannot pack tensors: tensors[${i}] has shape ${formatShape(shape)}, expected [B, M, ...]`,
      );
    }
    return new Array<number>(shape[0]!).fill(shape[1]!);
  });
}

/** Throws unless there are as many tensors in both lists, and their first `axes` sizes agree. */
export function assertSameLeading(
  nameA: string,
  a: readonly Tensor[],
  nameB: string,
  b: readonly Tensor[],
  axes: number,
): void {
  for (const [name, list] of [[nameA, a], [nameB, b]] as const) {
    for (const [i, tensor] of checkedArray("pack tensors", name, list).entries()) {
      assertTensor("pack tensors", `${name}[${i}]`, tensor);
    }
  }
  if (a.length !== b.length) {
    throw new RangeError(
      `Cannot pack tensors: there are ${a.length} ${nameA} and ${b.length} ${nameB}, expected as many`,
    );
  }
  for (const [i, { shape }] of a.entries()) {
    const other = b[i]!.shape;
    if (shape.slice(0, axes).some((size, axis) => size !== other[axis])) {
      throw new RangeError(
        `Cannot pack tensors: ${nameA}[${i}] has shape ${formatShape(shape)} and ${nameB}[${i}] ` +
          `${formatShape(other)}, expected the same ${axes === 1 ? "B" : "B and M"}`,
      );
    }
  }
}

/**
 * Tensors `[B_i, M_i, ...]` as one `[1, sum of B_i M_i, ...]`. Makes temporary tensors: call it in `tidy`.
 *
 * @param tensors At least one; what follows M must agree.
 */
export function pack(tensors: readonly Tensor[]): Tensor {
  const rows = tensors.map((tensor) => {
    const [B, M, ...rest] = tensor.shape;
    return tensor.reshape([1, B! * M!, ...rest]);
  });
  return cat(rows, 1);
}

/**
 * The inverse of {@linkcode pack}, in views. Makes temporary tensors: call it in `tidy`.
 *
 * @param tensor `[1, M, ...]`.
 * @param lengths Of each sequence.
 * @param batchSizes How many sequences in a row belong to one tensor of the result; each is one unless given.
 * @returns Tensors `[B_i, M_i, ...]`.
 * @throws {RangeError} If the tensor has another batch or total length.
 */
export function unpack(
  tensor: Tensor,
  lengths: readonly number[],
  batchSizes: readonly number[] = new Array<number>(lengths.length).fill(1),
): Tensor[] {
  assertTensor("split a tensor", "it", tensor);
  const [B, M, ...rest] = tensor.shape;
  if (B !== 1 || M !== total(lengths)) {
    throw new RangeError(
      `Cannot split a tensor of shape ${formatShape(tensor.shape)}: ` +
        `expected [1, ${total(lengths)}, ...], the sum of the mask's lengths`,
    );
  }
  const starts = begins(lengths);
  const firsts = begins(batchSizes);
  return batchSizes.map((size, i) => {
    const first = firsts[i]!;
    const length = size === 0 ? 0 : lengths[first]!;
    const start = starts[first] ?? M;
    return tensor.slice(1, start, start + size * length).reshape([size, length, ...rest]);
  });
}
