/**
 * Masks over packed queries whose keys lie in slots of one size, of which each sequence uses the first
 * few (a KV cache): query `[1, sum of Lq, H, K]`, key and value `[1, n * kvPadding, H, K]`. Sequence b has
 * keys `b * kvPadding` to `b * kvPadding + Lk`; what lies behind them in the slot is never used. In the
 * formulas `i` and `j` count within the sequence and `d = Lk - Lq`.
 */
import {
  assertArguments,
  checkedOptions,
  limitArguments,
  type OptionNames,
} from "../../gpu/checks.ts";
import { AttentionBias, type MaskBlock } from "./bias.ts";
import {
  begins,
  causalWindow,
  checkedCount,
  checkedLengths,
  type Lengths,
  localWindow,
  queryMismatch,
} from "./checks.ts";
import { makePaged, type PagedMaskClass } from "./page_tables.ts";
import { CAUSAL_FROM_BOTTOM_RIGHT, EVERYTHING, type Window } from "./window.ts";

/** How packed queries and padded keys lie along M. */
export interface PaddedSequences {
  /** Lq of each sequence. */
  readonly qSeqlen: Lengths;
  /** Keys of a slot. */
  readonly kvPadding: number;
  /** Lk of each sequence. */
  readonly kvSeqlen: Lengths;
}

const SEQUENCES: OptionNames<PaddedSequences> = { qSeqlen: "list", kvPadding: "", kvSeqlen: "" };

/** Packed queries that see all keys in use of their sequence's slot: `j < Lk`. */
export class BlockDiagonalPaddedKeysMask extends AttentionBias implements PaddedSequences {
  static {
    limitArguments(this);
  }

  /** All keys of the sequence. */
  override readonly window: Window = EVERYTHING;
  /** The sequences. */
  override readonly blocks: readonly MaskBlock[];
  /** Lq of each sequence. */
  readonly qSeqlen: readonly number[];
  /** Keys of a slot. */
  readonly kvPadding: number;
  /** Lk of each sequence. */
  readonly kvSeqlen: readonly number[];

  /** Makes the mask; `fromSeqlens` does the same. */
  constructor(sequences: PaddedSequences) {
    assertArguments(`make a ${new.target.name}`, arguments, 1);
    super();
    const { name } = this.constructor;
    const { qSeqlen, kvPadding, kvSeqlen } = sequences instanceof BlockDiagonalPaddedKeysMask
      ? sequences
      : checkedOptions(`make a ${name}`, sequences, SEQUENCES);
    this.qSeqlen = checkedLengths(name, "qSeqlen", qSeqlen);
    this.kvPadding = checkedCount(name, "kvPadding", kvPadding, 0);
    this.kvSeqlen = checkedLengths(name, "kvSeqlen", kvSeqlen, {
      value: this.qSeqlen.length,
      reason: "as many as qSeqlen",
    });
    for (const [b, length] of this.kvSeqlen.entries()) {
      if (length > kvPadding) {
        throw new RangeError(
          `Cannot make a ${name}: kvSeqlen[${b}] is ${length}, expected at most kvPadding = ${kvPadding}`,
        );
      }
    }
    this.blocks = begins(this.qSeqlen).map((queryBegin, b) => ({
      queryBegin,
      queries: this.qSeqlen[b]!,
      keyBegin: b * kvPadding,
      keys: this.kvSeqlen[b]!,
    }));
  }

  /**
   * The mask for sequences of these lengths.
   *
   * @param qSeqlen Lq of each sequence.
   * @param kvPadding Keys of a slot.
   * @param kvSeqlen Lk of each sequence, as many, none above `kvPadding`.
   * @throws {RangeError} If a number is no whole number >= 0, a length too large, or their numbers differ.
   */
  static fromSeqlens<Mask extends BlockDiagonalPaddedKeysMask>(
    this: new (sequences: PaddedSequences) => Mask,
    qSeqlen: Lengths,
    kvPadding: number,
    kvSeqlen: Lengths,
  ): Mask {
    return new this({ qSeqlen, kvPadding, kvSeqlen });
  }

  /**
   * The same sequences with their keys in pages.
   *
   * @param blockTables The numbers of each sequence's pages in order, at least `ceil(Lk / pageSize)`.
   * @param pageSize Keys of a page.
   * @param pagedType The paged class of the same rule.
   * @throws {TypeError} If that class has another rule.
   */
  makePaged<Mask extends AttentionBias>(
    blockTables: readonly Lengths[],
    pageSize: number,
    pagedType: PagedMaskClass<Mask>,
  ): Mask {
    const { qSeqlen, kvSeqlen } = this;
    return makePaged(this, pagedType, { qSeqlen, kvSeqlen, blockTables, pageSize });
  }

  /**
   * The same sequences, in which a query sees of the keys that it saw those around its own, counted from the end: a
   * causal mask stays causal, and of two windows each side takes the smaller. xformers' forgets the rule before.
   *
   * @param windowLeft Keys seen before the query's own; >= 0, or Infinity for all.
   * @param windowRight Keys seen behind the query's own; >= 0, or Infinity for all.
   */
  makeLocalAttention(
    windowLeft: number,
    windowRight: number,
  ): BlockDiagonalLocalAttentionPaddedKeysMask {
    const { name } = BlockDiagonalLocalAttentionPaddedKeysMask;
    const { left, right } = localWindow(name, windowLeft, windowRight);
    return new BlockDiagonalLocalAttentionPaddedKeysMask(
      this,
      Math.min(left, this.window.left),
      Math.min(right, this.window.right),
    );
  }

  /** B must be 1, Mq the sum of the lengths and Mkv that of the slots. */
  override mismatch(batch: number, queries: number, keys: number): string | undefined {
    const count = this.qSeqlen.length;
    const expected = count * this.kvPadding;
    return queryMismatch(batch, queries, this.qSeqlen) ??
      (keys === expected
        ? undefined
        : `expected Mkv = ${expected}, ${count} slots of kvPadding = ${this.kvPadding}`);
  }
}

/**
 * Packed queries with padded keys, causal from the bottom right corner: `j <= i + d`. For decoding, and
 * for prompts behind a prefix that is in the cache already.
 *
 * @example Two sequences of a cache get one more token each
 * ```ts
 * import { BlockDiagonalCausalWithOffsetPaddedKeysMask } from "@denoformers/attention";
 *
 * const mask = BlockDiagonalCausalWithOffsetPaddedKeysMask.fromSeqlens([1, 1], 4, [2, 3]);
 * console.log(mask.materialize([2, 8])); // row 0: 0 at 0 and 1; row 1: 0 at 4, 5 and 6
 * ```
 */
export class BlockDiagonalCausalWithOffsetPaddedKeysMask extends BlockDiagonalPaddedKeysMask {
  /** Keys up to the one that is as far from the sequence's end as the query. */
  override readonly window: Window = CAUSAL_FROM_BOTTOM_RIGHT;
}

/**
 * Packed queries with padded keys, within a window to both sides:
 * `i + d - windowLeft <= j <= i + d + windowRight`.
 */
export class BlockDiagonalLocalAttentionPaddedKeysMask extends BlockDiagonalPaddedKeysMask {
  static {
    limitArguments(this);
  }

  /** From `windowLeft` keys before the query's own to `windowRight` behind it. */
  override readonly window: Window;

  /** Makes the mask, as `fromSeqlensLocal` does. */
  constructor(sequences: PaddedSequences, windowLeft: number, windowRight: number) {
    assertArguments(`make a ${new.target.name}`, arguments, 3);
    super(sequences);
    this.window = localWindow(this.constructor.name, windowLeft, windowRight);
  }

  /**
   * As `BlockDiagonalPaddedKeysMask.fromSeqlens`, with a window.
   *
   * @param windowLeft Keys seen before the query's own; >= 0, or Infinity for all.
   * @param windowRight Keys seen behind the query's own; >= 0, or Infinity for all.
   */
  static fromSeqlensLocal(
    qSeqlen: Lengths,
    kvPadding: number,
    kvSeqlen: Lengths,
    windowLeft: number,
    windowRight: number,
  ): BlockDiagonalLocalAttentionPaddedKeysMask {
    const sequences = { qSeqlen, kvPadding, kvSeqlen };
    return new BlockDiagonalLocalAttentionPaddedKeysMask(sequences, windowLeft, windowRight);
  }
}

/**
 * Packed queries with padded keys, causal from the bottom right corner within a window:
 * `i + d - windowSize < j <= i + d`.
 */
export class BlockDiagonalCausalLocalAttentionPaddedKeysMask extends BlockDiagonalPaddedKeysMask {
  static {
    limitArguments(this);
  }

  /** The last `windowSize` keys up to the one that is as far from the sequence's end as the query. */
  override readonly window: Window;

  /** Makes the mask, as `fromSeqlensLocal` does. */
  constructor(sequences: PaddedSequences, windowSize: number) {
    assertArguments(`make a ${new.target.name}`, arguments, 2);
    super(sequences);
    this.window = causalWindow(this.constructor.name, "bottom-right", windowSize);
  }

  /**
   * As `BlockDiagonalPaddedKeysMask.fromSeqlens`, with a window.
   *
   * @param windowSize Keys that a query sees at most, its own among them; > 0, or Infinity.
   */
  static fromSeqlensLocal(
    qSeqlen: Lengths,
    kvPadding: number,
    kvSeqlen: Lengths,
    windowSize: number,
  ): BlockDiagonalCausalLocalAttentionPaddedKeysMask {
    const sequences = { qSeqlen, kvPadding, kvSeqlen };
    return new BlockDiagonalCausalLocalAttentionPaddedKeysMask(sequences, windowSize);
  }
}
