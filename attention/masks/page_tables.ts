/** Keys kept in pages: which of them a sequence's keys lie in. */
import { assertFunction, checkedOptions, type OptionNames, told } from "../../gpu/checks.ts";
import type { AttentionBias, MaskBlock, Pages } from "./bias.ts";
import { begins, checkedCount, checkedLengths, checkedList, type Lengths } from "./checks.ts";

/** How packed queries and paged keys lie along M. */
export interface PagedSequences {
  /** Lq of each sequence. */
  readonly qSeqlen: Lengths;
  /** Where each sequence's keys begin within its own pages. Default 0. */
  readonly kvSeqstarts?: Lengths | undefined;
  /** Lk of each sequence. */
  readonly kvSeqlen: Lengths;
  /** The numbers of each sequence's pages, in order; entries that no key needs may hold anything. */
  readonly blockTables: readonly Lengths[];
  /** Keys of a page. */
  readonly pageSize: number;
}

const SEQUENCES: OptionNames<PagedSequences> = {
  qSeqlen: "list",
  kvSeqstarts: "",
  kvSeqlen: "",
  blockTables: "",
  pageSize: "",
};

/** A class of paged masks; those without a window leave `windowSize` aside. */
export type PagedMaskClass<Mask extends AttentionBias> = new (
  sequences: PagedSequences,
  windowSize: number,
) => Mask;

/**
 * Checks sequences and brings them into the form that {@linkcode AttentionBias} has.
 *
 * @param mask Name of the class, for messages.
 * @throws {RangeError} If a number is no whole number, lists differ in length, or a table is too short.
 */
export function pagedBlocks(
  mask: string,
  sequences: PagedSequences,
): { blocks: MaskBlock[]; pages: Pages } {
  const { qSeqlen, kvSeqstarts, kvSeqlen, blockTables, pageSize } = checkedOptions(
    `make a ${mask}`,
    sequences,
    SEQUENCES,
  );
  const size = checkedCount(mask, "pageSize", pageSize, 1);
  const queries = checkedLengths(mask, "qSeqlen", qSeqlen);
  const count = { value: queries.length, reason: "as many as qSeqlen" };
  const keys = checkedLengths(mask, "kvSeqlen", kvSeqlen, count);
  const starts = kvSeqstarts === undefined
    ? keys.map(() => 0)
    : checkedLengths(mask, "kvSeqstarts", kvSeqstarts, count);
  if (!Array.isArray(blockTables)) {
    throw new TypeError(
      `Cannot make a ${mask}: blockTables is ${
        told(blockTables)
      }, expected an array with a list of ` +
        "page numbers for each sequence",
    );
  }
  if (blockTables.length !== queries.length) {
    throw new RangeError(
      `Cannot make a ${mask}: blockTables has ${blockTables.length} entries, expected ` +
        `${queries.length}, as many as qSeqlen`,
    );
  }
  const blocks = begins(queries).map((queryBegin, b) => ({
    queryBegin,
    queries: queries[b]!,
    keyBegin: starts[b]!,
    keys: keys[b]!,
  }));
  return {
    blocks,
    pages: { size, tables: blocks.map((block, b) => usedPages(mask, block, blockTables, b, size)) },
  };
}

/** The part of a table that the block's keys need, with 0 for pages before the first of them. */
function usedPages(
  mask: string,
  { keyBegin, keys }: MaskBlock,
  blockTables: readonly Lengths[],
  b: number,
  size: number,
): number[] {
  const name = `blockTables[${b}]`;
  const end = keys === 0 ? 0 : Math.ceil((keyBegin + keys) / size);
  const table = checkedList(mask, name, blockTables[b]!).slice(0, end);
  if (table.length < end) {
    throw new RangeError(
      `Cannot make a ${mask}: ${name} has ${table.length} pages of ${size} keys, expected at least ` +
        `${end} for keys ${keyBegin} to ${keyBegin + keys - 1}`,
    );
  }
  const first = Math.floor(keyBegin / size);
  const seen = new Set<number>();
  return table.map((page, at) => {
    if (at < first) return 0;
    checkedCount(mask, `${name}[${at}]`, page, 0);
    if (seen.has(page)) {
      throw new RangeError(
        `Cannot make a ${mask}: ${name} holds page ${page} twice, expected each page once`,
      );
    }
    seen.add(page);
    return page;
  });
}

/** What speaks against keys of this number, see `AttentionBias.mismatch`. */
export function pageMismatch(keys: number, { size, tables }: Pages): string | undefined {
  if (keys % size !== 0) return `expected Mkv to be a multiple of the page size ${size}`;
  for (const [b, table] of tables.entries()) {
    const at = table.findIndex((page) => page >= keys / size);
    if (at < 0) continue;
    const page = table[at]!;
    return `expected Mkv >= ${
      (page + 1) * size
    }, since blockTables[${b}][${at}] is page ${page} of ${size} keys`;
  }
  return undefined;
}

/**
 * A mask with its keys in pages instead.
 *
 * @param mask The mask.
 * @param pagedType The class to make.
 * @param sequences As the mask's.
 * @throws {TypeError} If the class hides other keys than the mask does.
 */
export function makePaged<Mask extends AttentionBias>(
  mask: AttentionBias,
  pagedType: PagedMaskClass<Mask>,
  sequences: PagedSequences,
): Mask {
  assertFunction("make a paged mask: pagedType", pagedType);
  const { alignment, left, right } = mask.window;
  // Classes without a window refuse its size.
  const size = pagedType.length > 1 ? [left + 1] : [];
  const paged: Mask = Reflect.construct(pagedType, [sequences, ...size]);
  const { window } = paged;
  if (window.alignment !== alignment || window.left !== left || window.right !== right) {
    throw new TypeError(
      `Cannot make a ${pagedType.name} of a ${mask.constructor.name}: it hides other keys, expected ` +
        "the class of the same rule; to change the rule use fromSeqlens()",
    );
  }
  return paged;
}
