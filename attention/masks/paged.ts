/**
 * Masks over packed queries whose keys lie in pages of one size, in any order: query
 * `[1, sum of Lq, H, K]`, key and value `[1, pages * pageSize, H, K]`. Key `t` of sequence b is row
 * `blockTables[b][floor(t / pageSize)] * pageSize + t % pageSize`; sequences may share pages. In the
 * formulas `i` and `j` count within the sequence and `d = Lk - Lq`.
 */
import { assertArguments, limitArguments } from "../../gpu/checks.ts";
import { AttentionBias, type MaskBlock, type Pages } from "./bias.ts";
import { causalWindow, type Lengths, queryMismatch } from "./checks.ts";
import { pagedBlocks, type PagedSequences, pageMismatch } from "./page_tables.ts";
import { CAUSAL_FROM_BOTTOM_RIGHT, EVERYTHING, type Window } from "./window.ts";

/** What both families of this file share. */
export abstract class PagedMask extends AttentionBias {
  static {
    limitArguments(this);
  }

  /** The sequences. */
  override readonly blocks: readonly MaskBlock[];
  /** Where their keys are. */
  override readonly pages: Pages;

  /** Makes the mask, as the static methods do. */
  constructor(sequences: PagedSequences) {
    assertArguments(`make a ${new.target.name}`, arguments, 1);
    super();
    const { blocks, pages } = pagedBlocks(this.constructor.name, sequences);
    this.blocks = blocks;
    this.pages = pages;
  }

  /** B must be 1, Mq the sum of the lengths, and every page that is used must lie within Mkv. */
  override mismatch(batch: number, queries: number, keys: number): string | undefined {
    return queryMismatch(batch, queries, this.blocks.map((block) => block.queries)) ??
      pageMismatch(keys, this.pages);
  }
}

/**
 * Packed queries that see all keys of their sequence, which lie in pages: `j < Lk`.
 *
 * @example One query over five keys in pages 2 and 0
 * ```ts
 * import { PagedBlockDiagonalPaddedKeysMask } from "@denoformers/attention";
 *
 * const mask = PagedBlockDiagonalPaddedKeysMask.fromSeqlens([1], [5], [[2, 0]], 4);
 * console.log(mask.materialize([1, 12])); // 0 at 8 to 11 and at 0
 * ```
 */
export class PagedBlockDiagonalPaddedKeysMask extends PagedMask {
  static {
    limitArguments(this);
  }

  /** All keys of the sequence. */
  override readonly window: Window = EVERYTHING;

  /**
   * The mask for sequences of these lengths.
   *
   * @param qSeqlen Lq of each sequence.
   * @param kvSeqlen Lk of each sequence, as many.
   * @param blockTables The numbers of each sequence's pages in order, at least
   * `ceil(Lk / pageSize)`; further entries are not looked at.
   * @param pageSize Keys of a page.
   * @throws {RangeError} If a number is no whole number, lists differ in length, or a table is too short.
   */
  static fromSeqlens<Mask extends PagedBlockDiagonalPaddedKeysMask>(
    this: new (sequences: PagedSequences) => Mask,
    qSeqlen: Lengths,
    kvSeqlen: Lengths,
    blockTables: readonly Lengths[],
    pageSize: number,
  ): Mask {
    return new this({ qSeqlen, kvSeqlen, blockTables, pageSize });
  }
}

/** Packed queries with keys in pages, causal from the bottom right corner: `j <= i + d`. */
export class PagedBlockDiagonalCausalWithOffsetPaddedKeysMask
  extends PagedBlockDiagonalPaddedKeysMask {
  /** Keys up to the one that is as far from the sequence's end as the query. */
  override readonly window: Window = CAUSAL_FROM_BOTTOM_RIGHT;
}

/**
 * Packed queries with keys in pages, causal from the bottom right corner within a window:
 * `i + d - windowSize < j <= i + d`.
 */
export class PagedBlockDiagonalCausalLocalPaddedKeysMask extends PagedBlockDiagonalPaddedKeysMask {
  static {
    limitArguments(this);
  }

  /** The last `windowSize` keys up to the one that is as far from the sequence's end as the query. */
  override readonly window: Window;

  /** Makes the mask, as `fromSeqlensLocal` does. */
  constructor(sequences: PagedSequences, windowSize: number) {
    assertArguments(`make a ${new.target.name}`, arguments, 2);
    super(sequences);
    this.window = causalWindow(this.constructor.name, "bottom-right", windowSize);
  }

  /**
   * As `PagedBlockDiagonalPaddedKeysMask.fromSeqlens`, with a window.
   *
   * @param windowSize Keys that a query sees at most, its own among them; > 0, or Infinity.
   */
  static fromSeqlensLocal(
    qSeqlen: Lengths,
    kvSeqlen: Lengths,
    blockTables: readonly Lengths[],
    pageSize: number,
    windowSize: number,
  ): PagedBlockDiagonalCausalLocalPaddedKeysMask {
    const sequences = { qSeqlen, kvSeqlen, blockTables, pageSize };
    return new PagedBlockDiagonalCausalLocalPaddedKeysMask(sequences, windowSize);
  }
}

/**
 * Packed queries that see all keys of their sequence, which lie in pages and need not begin with the
 * first key there: `j < Lk`, where key 0 is row `kvSeqstarts[b]` of the sequence's pages.
 */
export class PagedBlockDiagonalGappyKeysMask extends PagedMask {
  static {
    limitArguments(this);
  }

  /** All keys of the sequence. */
  override readonly window: Window = EVERYTHING;

  /**
   * The mask for sequences of these lengths.
   *
   * @param qSeqlen Lq of each sequence.
   * @param kvSeqstarts Where each sequence's keys begin within its own pages; one number a sequence.
   * @param kvSeqlen Lk of each sequence, as many.
   * @param blockTables The numbers of each sequence's pages in order; entries before the first key and
   * behind the last are not looked at.
   * @param pageSize Keys of a page.
   * @throws {RangeError} If a number is no whole number, lists differ in length, or a table is too short.
   */
  static fromSeqlens<Mask extends PagedBlockDiagonalGappyKeysMask>(
    this: new (sequences: PagedSequences) => Mask,
    qSeqlen: Lengths,
    kvSeqstarts: Lengths,
    kvSeqlen: Lengths,
    blockTables: readonly Lengths[],
    pageSize: number,
  ): Mask {
    return new this({ qSeqlen, kvSeqstarts, kvSeqlen, blockTables, pageSize });
  }
}

/** As {@linkcode PagedBlockDiagonalGappyKeysMask}, causal from the bottom right corner: `j <= i + d`. */
export class PagedBlockDiagonalCausalWithOffsetGappyKeysMask
  extends PagedBlockDiagonalGappyKeysMask {
  /** Keys up to the one that is as far from the sequence's end as the query. */
  override readonly window: Window = CAUSAL_FROM_BOTTOM_RIGHT;
}
