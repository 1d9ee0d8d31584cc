/**
 * Masks over packed queries whose keys lie anywhere along M, also in runs that overlap (a shared
 * prefix): query `[1, sum of Lq, H, K]`, key and value `[1, Mkv, H, K]`. Sequence b has keys
 * `kvSeqstarts[b]` to `kvSeqstarts[b] + Lk`. In the formulas `i` and `j` count within the sequence and
 * `d = Lk - Lq`.
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
  checkedCount,
  checkedLengths,
  type Lengths,
  localWindow,
  queryMismatch,
} from "./checks.ts";
import { makePaged, type PagedMaskClass } from "./page_tables.ts";
import { CAUSAL_FROM_BOTTOM_RIGHT, EVERYTHING, type Window } from "./window.ts";

/** How packed queries and runs of keys lie along M. */
export interface GappySequences {
  /** Lq of each sequence, at least one. */
  readonly qSeqlen: Lengths;
  /** Where each sequence's keys begin, and last Mkv. */
  readonly kvSeqstarts: Lengths;
  /** Lk of each sequence. */
  readonly kvSeqlen: Lengths;
}

const SEQUENCES: OptionNames<GappySequences> = { qSeqlen: "list", kvSeqstarts: "", kvSeqlen: "" };

/**
 * Packed queries that see all keys of a run of their own, which may overlap with others': `j < Lk`.
 */
export class BlockDiagonalGappyKeysMask extends AttentionBias implements GappySequences {
  static {
    limitArguments(this);
  }

  /** All keys of the run. */
  override readonly window: Window = EVERYTHING;
  /** The sequences. */
  override readonly blocks: readonly MaskBlock[];
  /** Lq of each sequence. */
  readonly qSeqlen: readonly number[];
  /** Where each sequence's keys begin, and last Mkv. */
  readonly kvSeqstarts: readonly number[];
  /** Lk of each sequence. */
  readonly kvSeqlen: readonly number[];

  /** Makes the mask; `fromSeqlens` does the same. */
  constructor(sequences: GappySequences) {
    assertArguments(`make a ${new.target.name}`, arguments, 1);
    super();
    const { name } = this.constructor;
    const { qSeqlen, kvSeqstarts, kvSeqlen } = sequences instanceof BlockDiagonalGappyKeysMask
      ? sequences
      : checkedOptions(`make a ${name}`, sequences, SEQUENCES);
    this.qSeqlen = checkedLengths(name, "qSeqlen", qSeqlen);
    const count = this.qSeqlen.length;
    if (count === 0) {
      throw new RangeError(`Cannot make a ${name}: qSeqlen has no entries, expected at least one`);
    }
    this.kvSeqlen = checkedLengths(name, "kvSeqlen", kvSeqlen, {
      value: count,
      reason: "as many as qSeqlen",
    });
    this.kvSeqstarts = checkedLengths(name, "kvSeqstarts", kvSeqstarts, {
      value: count + 1,
      reason: "the beginning of each sequence's keys and last the total",
    });
    this.blocks = begins(this.qSeqlen).map((queryBegin, b) => ({
      queryBegin,
      queries: this.qSeqlen[b]!,
      keyBegin: this.kvSeqstarts[b]!,
      keys: this.kvSeqlen[b]!,
    }));
    const all = this.kvSeqstarts[count]!;
    for (const [b, { keyBegin, keys }] of this.blocks.entries()) {
      if (keyBegin + keys > all) {
        throw new RangeError(
          `Cannot make a ${name}: keys ${keyBegin} to ${
            keyBegin + keys - 1
          } of sequence ${b} exceed ` +
            `kvSeqstarts[${count}] = ${all}, expected the total of keys there`,
        );
      }
    }
  }

  /**
   * The mask for sequences of these lengths.
   *
   * @param qSeqlen Lq of each sequence, at least one.
   * @param kvSeqstarts Where each sequence's keys begin, and last the total of keys, Mkv.
   * @param kvSeqlen Lk of each sequence.
   * @throws {RangeError} If a number is no whole number >= 0, their numbers do not go together, or keys
   * lie behind the total.
   */
  static fromSeqlens<Mask extends BlockDiagonalGappyKeysMask>(
    this: new (sequences: GappySequences) => Mask,
    qSeqlen: Lengths,
    kvSeqstarts: Lengths,
    kvSeqlen: Lengths,
  ): Mask {
    return new this({ qSeqlen, kvSeqstarts, kvSeqlen });
  }

  /**
   * The same sequences with their keys in pages, if each sequence has a slot of its own along M.
   *
   * @param blockTables The numbers of each sequence's pages in order.
   * @param pageSize Keys of a page.
   * @param notionalPadding Keys of a slot: sequence b's begins at `b * notionalPadding`. A multiple of
   * `pageSize`.
   * @param pagedType The paged class of the same rule.
   * @throws {RangeError} If the slot is no whole number of pages, or a sequence begins before its slot.
   * @throws {TypeError} If that class has another rule.
   */
  makePaged<Mask extends AttentionBias>(
    blockTables: readonly Lengths[],
    pageSize: number,
    notionalPadding: number,
    pagedType: PagedMaskClass<Mask>,
  ): Mask {
    const { qSeqlen, kvSeqlen } = this;
    const { name } = pagedType;
    checkedCount(name, "pageSize", pageSize, 1);
    checkedCount(name, "notionalPadding", notionalPadding, 0);
    if (notionalPadding % pageSize !== 0) {
      throw new RangeError(
        `Cannot make a ${name}: notionalPadding is ${notionalPadding}, expected a multiple of pageSize = ${pageSize}`,
      );
    }
    const kvSeqstarts = this.blocks.map(({ keyBegin }, b) => keyBegin - b * notionalPadding);
    const before = kvSeqstarts.findIndex((start) => start < 0);
    if (before >= 0) {
      throw new RangeError(
        `Cannot make a ${name}: kvSeqstarts[${before}] is ${
          this.kvSeqstarts[before]
        }, expected at least ` +
          `${before * notionalPadding}, the beginning of the sequence's slot`,
      );
    }
    return makePaged(this, pagedType, { qSeqlen, kvSeqstarts, kvSeqlen, blockTables, pageSize });
  }

  /** B must be 1, Mq the sum of the lengths and Mkv the last of `kvSeqstarts`. */
  override mismatch(batch: number, queries: number, keys: number): string | undefined {
    const expected = this.kvSeqstarts.at(-1)!;
    return queryMismatch(batch, queries, this.qSeqlen) ??
      (keys === expected ? undefined : `expected Mkv = ${expected}, the last of kvSeqstarts`);
  }
}

/** As {@linkcode BlockDiagonalGappyKeysMask}, causal from the bottom right corner: `j <= i + d`. */
export class BlockDiagonalCausalWithOffsetGappyKeysMask extends BlockDiagonalGappyKeysMask {
  /** Keys up to the one that is as far from the run's end as the query. */
  override readonly window: Window = CAUSAL_FROM_BOTTOM_RIGHT;
}

/**
 * As {@linkcode BlockDiagonalGappyKeysMask}, within a window to both sides:
 * `i + d - windowLeft <= j <= i + d + windowRight`.
 */
export class BlockDiagonalLocalAttentionFromBottomRightGappyKeysMask
  extends BlockDiagonalGappyKeysMask {
  static {
    limitArguments(this);
  }

  /** From `windowLeft` keys before the query's own to `windowRight` behind it. */
  override readonly window: Window;

  /** Makes the mask, as `fromSeqlensLocalGappy` does. */
  constructor(sequences: GappySequences, windowLeft: number, windowRight: number) {
    assertArguments(`make a ${new.target.name}`, arguments, 3);
    super(sequences);
    this.window = localWindow(this.constructor.name, windowLeft, windowRight);
  }

  /**
   * As `BlockDiagonalGappyKeysMask.fromSeqlens`, with a window.
   *
   * @param windowLeft Keys seen before the query's own; >= 0, or Infinity for all.
   * @param windowRight Keys seen behind the query's own; >= 0, or Infinity for all.
   */
  static fromSeqlensLocalGappy(
    qSeqlen: Lengths,
    kvSeqstarts: Lengths,
    kvSeqlen: Lengths,
    windowLeft: number,
    windowRight: number,
  ): BlockDiagonalLocalAttentionFromBottomRightGappyKeysMask {
    const sequences = { qSeqlen, kvSeqstarts, kvSeqlen };
    return new BlockDiagonalLocalAttentionFromBottomRightGappyKeysMask(
      sequences,
      windowLeft,
      windowRight,
    );
  }
}
