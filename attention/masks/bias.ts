/**
 * Masks as values: a window (which keys of its block a query sees) and, for packed sequences, the blocks.
 * Kernels, the `math` op and `materialize` all take it from here, so a mask is a constructor and a
 * choice of these two.
 */
import { assertArguments, limitArguments, told } from "../../gpu/checks.ts";
import { assertShape, formatShape, numel } from "../../gpu/shape.ts";
import { Tensor } from "../../gpu/tensor/tensor.ts";
import { visibleKeys, type Window } from "./window.ts";

/** A run of queries, and the run of keys that they may look at. */
export interface MaskBlock {
  /** Index of the first query along M. */
  readonly queryBegin: number;
  /** Lq. */
  readonly queries: number;
  /** Index of the first key along M; for paged keys, within the sequence's own pages. */
  readonly keyBegin: number;
  /** Lk. */
  readonly keys: number;
}

/**
 * Keys kept in pages of one size: key `t` of block `b` is row
 * `tables[b][floor(t / size)] * size + t % size` along M.
 */
export interface Pages {
  /** Keys of a page. */
  readonly size: number;
  /** For each block, the numbers of its pages in order, up to the last that its keys need. */
  readonly tables: readonly (readonly number[])[];
}

/**
 * A mask that is described instead of stored. Pass one as `attnBias`; a `Tensor` there is an additive
 * bias, or a mask if its dtype is bool.
 */
export abstract class AttentionBias {
  static {
    limitArguments(this, { materialize: [1, "the mask is made as f32 on the CPU"] });
  }

  /** Which keys of its block a query sees. */
  abstract readonly window: Window;
  /** The blocks of packed sequences; `undefined` if each sequence of the batch is one. */
  readonly blocks: readonly MaskBlock[] | undefined = undefined;
  /** Where keys are, if not in order. */
  readonly pages: Pages | undefined = undefined;
  /** A tensor that is added as well (or says "may attend" where it is bool), see {@linkcode addBias}. */
  readonly tensor: Tensor | undefined = undefined;

  /** This mask together with a tensor bias that broadcasts to `[B, H, Mq, Mkv]`. */
  addBias(tensor: Tensor): AttentionBias {
    return new MaskWithTensorBias(this, tensor);
  }

  /**
   * What speaks against using the mask on these sizes, for error messages; `undefined` if nothing does.
   *
   * @param batch B.
   * @param queries Mq.
   * @param keys Mkv.
   */
  mismatch(_batch: number, _queries: number, _keys: number): string | undefined {
    return undefined;
  }

  /**
   * The mask as an additive bias, on the CPU: 0 where a query may attend, -Infinity where it may not. A
   * tensor bias is left out. For tests and for looking at; kernels never make it.
   *
   * @param shape `[..., Mq, Mkv]`.
   * @returns The elements in row-major order. Time and memory O(elements).
   * @throws {RangeError} If the mask was made for other sizes.
   */
  materialize(shape: readonly number[]): Float32Array<ArrayBuffer> {
    assertShape(shape, "materialize a mask");
    if (shape.length < 2) {
      throw new RangeError(
        `Cannot materialize a mask: shape is ${formatShape(shape)}, expected [..., Mq, Mkv]`,
      );
    }
    if (numel(shape) >= 2 ** 32) {
      throw new RangeError(
        `Cannot materialize a mask: shape ${formatShape(shape)} has ${numel(shape)} elements, ` +
          "expected fewer than 2^32",
      );
    }
    const [queries, keys] = shape.slice(-2) as [number, number];
    const problem = this.mismatch(1, queries, keys);
    if (problem) {
      throw new RangeError(
        `Cannot materialize a ${this.constructor.name}: shape is ${formatShape(shape)}, ${problem}`,
      );
    }
    const matrix = this.#matrix(queries, keys);
    const out = new Float32Array(numel(shape));
    for (let at = 0; at < out.length; at += matrix.length) out.set(matrix, at);
    return out;
  }

  #matrix(queries: number, keys: number): Float32Array {
    const matrix = new Float32Array(queries * keys).fill(-Infinity);
    const blocks = this.blocks ?? [{ queryBegin: 0, queries, keyBegin: 0, keys }];
    for (const [b, block] of blocks.entries()) {
      for (let i = 0; i < block.queries; i++) {
        const [begin, end] = visibleKeys(this.window, i, block.queries, block.keys);
        for (let j = begin; j < end; j++) {
          const row = keyRow(this.pages?.tables[b], this.pages?.size, block.keyBegin + j);
          matrix[(block.queryBegin + i) * keys + row] = 0;
        }
      }
    }
    return matrix;
  }
}

/** Where key `t` of a block lies along M. */
export function keyRow(
  table: readonly number[] | undefined,
  size: number | undefined,
  t: number,
): number {
  return table && size ? table[Math.floor(t / size)]! * size + t % size : t;
}

/** A mask together with a tensor bias, which is added to the scores that the mask leaves. */
export class MaskWithTensorBias extends AttentionBias {
  static {
    limitArguments(this);
  }

  /** The mask's. */
  override readonly window: Window;
  /** The mask's. */
  override readonly blocks: readonly MaskBlock[] | undefined;
  /** The mask's. */
  override readonly pages: Pages | undefined;
  /** The tensor. */
  override readonly tensor: Tensor;
  readonly #mask: AttentionBias;

  /** Joins the two; the tensor broadcasts to `[B, H, Mq, Mkv]`. */
  constructor(mask: AttentionBias, tensor: Tensor) {
    assertArguments(`make a ${new.target.name}`, arguments, 2);
    super();
    if (!(mask instanceof AttentionBias)) {
      throw new TypeError(`Cannot add a tensor bias: mask is ${told(mask)}, expected a mask`);
    }
    if (!(tensor instanceof Tensor)) {
      throw new TypeError(`Cannot add a tensor bias: tensor is ${told(tensor)}, expected a Tensor`);
    }
    if (mask.tensor) {
      throw new TypeError("Cannot add a tensor bias: the mask has one already, add the tensors");
    }
    this.#mask = mask;
    this.window = mask.window;
    this.blocks = mask.blocks;
    this.pages = mask.pages;
    this.tensor = tensor;
  }

  /** As the mask's. */
  override mismatch(batch: number, queries: number, keys: number): string | undefined {
    return this.#mask.mismatch(batch, queries, keys);
  }
}
