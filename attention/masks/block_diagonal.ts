/**
 * Masks over packed sequences of unequal lengths: query `[1, sum of Lq, H, K]`, key and value
 * `[1, sum of Lk, H, K]`, in which queries of block b see keys of block b alone. In the formulas `i` and
 * `j` count within the block and `d = Lk - Lq`.
 */
import {
  assertArguments,
  checkedOptions,
  limitArguments,
  type OptionNames,
} from "../../gpu/checks.ts";
import { tidy } from "../../gpu/lifetime.ts";
import type { Tensor } from "../../gpu/tensor/tensor.ts";
import { AttentionBias, type MaskBlock } from "./bias.ts";
import {
  begins,
  causalWindow,
  checkedLengths,
  checkedReach,
  type Lengths,
  queryMismatch,
  total,
} from "./checks.ts";
import { assertSameLeading, lengthsOf, pack, unpack } from "./packing.ts";
import { CAUSAL, CAUSAL_FROM_BOTTOM_RIGHT, EVERYTHING, type Window } from "./window.ts";

/** How packed sequences lie along M. */
export interface PackedSequences {
  /** Lq of each block. */
  readonly qSeqlen: Lengths;
  /** Lk of each block. Default `qSeqlen`. */
  readonly kvSeqlen?: Lengths | undefined;
  /** How many blocks in a row `split` gives back as one tensor. Default 1 each. */
  readonly batchSizes?: readonly number[] | undefined;
}

const SEQUENCES: OptionNames<PackedSequences> = { qSeqlen: "list", kvSeqlen: "", batchSizes: "" };

/** What `fromTensorListsQkv` returns. */
export interface PackedQkv<Mask, Value> {
  /** The mask for the three. */
  readonly mask: Mask;
  /** `[1, sum of B_i Mq_i, ...]`. */
  readonly query: Tensor;
  /** `[1, sum of B_i Mkv_i, ...]`. */
  readonly key: Tensor;
  /** As the key, or `undefined` if no values were given. */
  readonly value: Value;
}

/** A class of this file whose masks need nothing but the sequences. */
export type PackedMaskClass<Mask> = new (sequences: PackedSequences) => Mask;

/**
 * Sequences packed one after the other, each of which attends to itself; or queries to the keys of the
 * same number, if there are two lists of lengths. Any length may be 0.
 *
 * @example Two batches of sequences of unequal lengths in one call
 * ```ts
 * import { BlockDiagonalMask, memoryEfficientAttention, requestDevice } from "@denoformers/attention";
 *
 * using device = await requestDevice();
 * const crops = [device.randn([2, 5, 4, 16]), device.randn([1, 3, 4, 16])]; // [B, M, H, K]
 * const [mask, x] = BlockDiagonalMask.fromTensorList(crops); // x is [1, 13, 4, 16]
 * const out = memoryEfficientAttention(x, x, x, { attnBias: mask });
 * console.log(mask.split(out).map((part) => part.shape)); // [2, 5, 4, 16] and [1, 3, 4, 16]
 * ```
 */
export class BlockDiagonalMask extends AttentionBias implements PackedSequences {
  static {
    limitArguments(this);
  }

  /** All keys of the block. */
  override readonly window: Window = EVERYTHING;
  /** The sequences. */
  override readonly blocks: readonly MaskBlock[];
  /** Lq of each block. */
  readonly qSeqlen: readonly number[];
  /** Lk of each block. */
  readonly kvSeqlen: readonly number[];
  /** How many blocks in a row belong to one tensor of `fromTensorList`. */
  readonly batchSizes: readonly number[] | undefined;

  /** Makes the mask; `fromSeqlens` does the same. */
  constructor(sequences: PackedSequences) {
    assertArguments(`make a ${new.target.name}`, arguments, 1);
    super();
    const { name } = this.constructor;
    const { qSeqlen, kvSeqlen, batchSizes } = sequences instanceof BlockDiagonalMask
      ? sequences
      : checkedOptions(`make a ${name}`, sequences, SEQUENCES);
    this.qSeqlen = checkedLengths(name, "qSeqlen", qSeqlen);
    this.kvSeqlen = kvSeqlen === undefined ? this.qSeqlen : checkedLengths(
      name,
      "kvSeqlen",
      kvSeqlen,
      { value: this.qSeqlen.length, reason: "as many as qSeqlen" },
    );
    this.batchSizes = batchSizes && checkedLengths(name, "batchSizes", batchSizes);
    if (this.batchSizes && total(this.batchSizes) !== this.qSeqlen.length) {
      throw new RangeError(
        `Cannot make a ${name}: batchSizes has sum ${total(this.batchSizes)}, expected ` +
          `${this.qSeqlen.length}, the number of sequences`,
      );
    }
    const keyBegins = begins(this.kvSeqlen);
    this.blocks = begins(this.qSeqlen).map((queryBegin, b) => ({
      queryBegin,
      queries: this.qSeqlen[b]!,
      keyBegin: keyBegins[b]!,
      keys: this.kvSeqlen[b]!,
    }));
  }

  /**
   * The mask for sequences of these lengths.
   *
   * @param qSeqlen Lq of each block.
   * @param kvSeqlen Lk of each block, as many. Default `qSeqlen`.
   * @throws {RangeError} If a length is no whole number >= 0, or their numbers differ.
   */
  static fromSeqlens<Mask extends BlockDiagonalMask>(
    this: PackedMaskClass<Mask>,
    qSeqlen: Lengths,
    kvSeqlen?: Lengths,
  ): Mask {
    return new this({ qSeqlen, kvSeqlen });
  }

  /**
   * Packs tensors, each row of a batch as a block of its own.
   *
   * @param tensors `[B_i, M_i, ...]`, at least one; what follows M must agree.
   * @returns The mask, and the tensors as one `[1, sum of B_i M_i, ...]`.
   */
  static fromTensorList<Mask extends BlockDiagonalMask>(
    this: PackedMaskClass<Mask>,
    tensors: readonly Tensor[],
  ): [mask: Mask, tensor: Tensor] {
    const mask = new this({
      qSeqlen: lengthsOf(tensors),
      batchSizes: tensors.map(({ shape }) => shape[0]!),
    });
    return [mask, tidy(() => pack(tensors))];
  }

  /**
   * Packs queries, keys and values, each row of a batch as a block of its own.
   *
   * @param queries `[B_i, Mq_i, ...]`, at least one.
   * @param keys `[B_i, Mkv_i, ...]`, as many.
   * @param values `[B_i, Mkv_i, ...]`, as many.
   * @throws {RangeError} If there are not as many, or sizes disagree.
   */
  static fromTensorListsQkv<Mask extends BlockDiagonalMask>(
    this: PackedMaskClass<Mask>,
    queries: readonly Tensor[],
    keys: readonly Tensor[],
    values: readonly Tensor[],
  ): PackedQkv<Mask, Tensor>;
  /** Packs queries and keys. */
  static fromTensorListsQkv<Mask extends BlockDiagonalMask>(
    this: PackedMaskClass<Mask>,
    queries: readonly Tensor[],
    keys: readonly Tensor[],
  ): PackedQkv<Mask, undefined>;
  static fromTensorListsQkv<Mask extends BlockDiagonalMask>(
    this: PackedMaskClass<Mask>,
    queries: readonly Tensor[],
    keys: readonly Tensor[],
    values?: readonly Tensor[],
  ): PackedQkv<Mask, Tensor | undefined> {
    assertSameLeading("queries", queries, "keys", keys, 1);
    if (values) assertSameLeading("keys", keys, "values", values, 2);
    const mask = new this({
      qSeqlen: lengthsOf(queries),
      kvSeqlen: lengthsOf(keys),
      batchSizes: queries.map(({ shape }) => shape[0]!),
    });
    return tidy(() => ({
      mask,
      query: pack(queries),
      key: pack(keys),
      value: values && pack(values),
    }));
  }

  /**
   * Takes a packed tensor apart, in views.
   *
   * @param tensor `[1, sum of lengths, ...]`.
   * @returns A tensor `[B_i, M_i, ...]` for each one packed; `[1, L, ...]` for each length, if the mask
   * was made of lengths.
   * @throws {RangeError} If queries and keys have different lengths (use `splitQueries` or `splitKv`), or
   * the tensor has other sizes.
   */
  split(tensor: Tensor): Tensor[] {
    if (this.qSeqlen.some((length, b) => length !== this.kvSeqlen[b])) {
      throw new RangeError(
        "Cannot split a tensor: qSeqlen and kvSeqlen differ, use splitQueries() or splitKv()",
      );
    }
    return this.splitQueries(tensor);
  }

  /** As {@linkcode split}, for the query or the output. */
  splitQueries(tensor: Tensor): Tensor[] {
    return tidy(() => unpack(tensor, this.qSeqlen, this.batchSizes));
  }

  /** As {@linkcode split}, for the key or the value. */
  splitKv(tensor: Tensor): Tensor[] {
    return tidy(() => unpack(tensor, this.kvSeqlen, this.batchSizes));
  }

  /**
   * Each block causal from its top left corner. This and the following keep the rule of the mask that they are called
   * on as well, which xformers' forget: a window stays, and of two the smaller.
   *
   * @throws {TypeError} If the mask counts from the other corner, and some block has more or fewer keys than queries.
   */
  makeCausal(): BlockDiagonalCausalMask {
    const size = this.#windowFrom("top-left", "BlockDiagonalCausalMask", Infinity);
    return size === Infinity
      ? new BlockDiagonalCausalMask(this)
      : new BlockDiagonalCausalLocalAttentionMask(this, size);
  }

  /**
   * Each block causal from its bottom right corner.
   *
   * @throws {TypeError} If the mask counts from the other corner, and some block has more or fewer keys than queries.
   */
  makeCausalFromBottomRight(): BlockDiagonalCausalFromBottomRightMask {
    const size = this.#windowFrom(
      "bottom-right",
      "BlockDiagonalCausalFromBottomRightMask",
      Infinity,
    );
    return size === Infinity
      ? new BlockDiagonalCausalFromBottomRightMask(this)
      : new BlockDiagonalCausalLocalAttentionFromBottomRightMask(this, size);
  }

  /**
   * Each block causal within a window, from the corner that the mask counts from: the top left one, but the bottom
   * right one for a {@linkcode BlockDiagonalCausalFromBottomRightMask}.
   *
   * @param windowSize Keys that a query sees at most, its own among them; > 0, or Infinity.
   */
  makeLocalAttention(windowSize: number): BlockDiagonalCausalLocalAttentionMask {
    const name = "BlockDiagonalCausalLocalAttentionMask";
    return new BlockDiagonalCausalLocalAttentionMask(
      this,
      this.#windowFrom("top-left", name, windowSize),
    );
  }

  /**
   * Each block causal from its bottom right corner, within a window.
   *
   * @param windowSize Keys that a query sees at most, its own among them; > 0, or Infinity.
   * @throws {TypeError} If the mask counts from the other corner, and some block has more or fewer keys than queries.
   */
  makeLocalAttentionFromBottomRight(
    windowSize: number,
  ): BlockDiagonalCausalLocalAttentionFromBottomRightMask {
    const name = "BlockDiagonalCausalLocalAttentionFromBottomRightMask";
    return new BlockDiagonalCausalLocalAttentionFromBottomRightMask(
      this,
      this.#windowFrom("bottom-right", name, windowSize),
    );
  }

  /** The size of a causal window from a corner that hides what this mask hides as well. */
  #windowFrom(corner: Window["alignment"], name: string, windowSize: number): number {
    const size = checkedReach(name, "windowSize", windowSize, 1);
    const { alignment, left } = this.window;
    const other = this.blocks.findIndex(({ queries, keys }) => queries !== keys);
    if (this.window !== EVERYTHING && alignment !== corner && other >= 0) {
      const { queries, keys } = this.blocks[other]!;
      throw new TypeError(
        `Cannot make a ${name} of a ${this.constructor.name}: that counts from the ${alignment} corner, and ` +
          `block ${other} has ${queries} queries and ${keys} keys, expected as many; ` +
          "make it of a BlockDiagonalMask",
      );
    }
    return Math.min(size, left + 1);
  }

  /** B must be 1, Mq and Mkv the sums of the lengths. */
  override mismatch(batch: number, queries: number, keys: number): string | undefined {
    const expected = total(this.kvSeqlen);
    return queryMismatch(batch, queries, this.qSeqlen) ??
      (keys === expected ? undefined : `expected Mkv = ${expected}, the sum of kvSeqlen`);
  }
}

/** Packed sequences, each causal from its top left corner: `j <= i`. */
export class BlockDiagonalCausalMask extends BlockDiagonalMask {
  /** Keys up to the query's own number. */
  override readonly window: Window = CAUSAL;
}

/**
 * Packed sequences, each causal from its bottom right corner: `j <= i + d`. Where Lk < Lq, the first
 * Lq - Lk queries see no key and give 0; xformers refuses such blocks.
 */
export class BlockDiagonalCausalFromBottomRightMask extends BlockDiagonalMask {
  static {
    limitArguments(this);
  }

  /** Keys up to the one that is as far from the block's end as the query. */
  override readonly window: Window = CAUSAL_FROM_BOTTOM_RIGHT;

  /**
   * As `makeLocalAttentionFromBottomRight`; xformers' counts from the top left corner instead.
   *
   * @param windowSize Keys that a query sees at most, its own among them; > 0, or Infinity.
   */
  override makeLocalAttention(
    windowSize: number,
  ): BlockDiagonalCausalLocalAttentionFromBottomRightMask {
    return this.makeLocalAttentionFromBottomRight(windowSize);
  }
}

/**
 * Packed sequences, each causal from its top left corner within a window: `i - windowSize < j <= i`. Where
 * Lk <= Lq - windowSize, the last queries see no key and give 0; xformers refuses such blocks.
 */
export class BlockDiagonalCausalLocalAttentionMask extends BlockDiagonalCausalMask {
  /** The last `windowSize` keys up to the query's own number. */
  override readonly window: Window;

  /** Makes the mask, as `makeLocalAttention` does; `windowSize` is > 0, or Infinity. */
  constructor(sequences: PackedSequences, windowSize: number) {
    assertArguments(`make a ${new.target.name}`, arguments, 2);
    super(sequences);
    this.window = causalWindow(this.constructor.name, "top-left", windowSize);
  }
}

/**
 * Packed sequences, each causal from its bottom right corner within a window:
 * `i + d - windowSize < j <= i + d`. Where Lk < Lq, the first Lq - Lk queries see no key and give 0;
 * xformers refuses such blocks.
 */
export class BlockDiagonalCausalLocalAttentionFromBottomRightMask
  extends BlockDiagonalCausalFromBottomRightMask {
  /** The last `windowSize` keys up to the one that is as far from the block's end as the query. */
  override readonly window: Window;

  /** Makes the mask, as `makeLocalAttentionFromBottomRight` does; `windowSize` is > 0, or Infinity. */
  constructor(sequences: PackedSequences, windowSize: number) {
    assertArguments(`make a ${new.target.name}`, arguments, 2);
    super(sequences);
    this.window = causalWindow(this.constructor.name, "bottom-right", windowSize);
  }
}
