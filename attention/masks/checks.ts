/** Checks of the numbers that masks are made of, and of the sizes that they are used on. */
import { asNumber, told } from "../../gpu/checks.ts";
import type { IntegerList } from "../../gpu/parse.ts";
import type { Window } from "./window.ts";

/** Lengths, offsets or page numbers, one for each sequence or page. */
export type Lengths = IntegerList;

/**
 * A copy of a list of whole numbers >= 0.
 *
 * @param mask Name of the class, for messages.
 * @param name Name of the argument.
 * @param lengths What was passed.
 * @param count How many there must be, and why; any number unless given.
 * @throws {TypeError} If it is no list.
 * @throws {RangeError} If there are too many or few, or one is no whole number >= 0.
 */
export function checkedLengths(
  mask: string,
  name: string,
  lengths: Lengths,
  count?: { readonly value: number; readonly reason: string },
): number[] {
  const list = checkedList(mask, name, lengths);
  for (const [i, length] of list.entries()) checkedCount(mask, `${name}[${i}]`, length, 0);
  if (count && list.length !== count.value) {
    throw new RangeError(
      `Cannot make a ${mask}: ${name} has ${list.length} entries, expected ${count.value}, ${count.reason}`,
    );
  }
  return list;
}

/** A copy of a list, in which BigInts that may be right are numbers; throws `TypeError` if it is none. */
export function checkedList(mask: string, name: string, list: Lengths): number[] {
  if (Array.isArray(list) || ArrayBuffer.isView(list)) {
    return Array.from<number | bigint, number>(list, (value) => {
      return (value < 0 ? value : asNumber(value)) as number;
    });
  }
  throw new TypeError(
    `Cannot make a ${mask}: ${name} is ${told(list)}, expected an array of numbers`,
  );
}

/** A whole number that is not below `least`; throws `RangeError`. */
export function checkedCount(mask: string, name: string, value: number, least: number): number {
  if (Number.isSafeInteger(value) && value >= least) return value;
  throw new RangeError(
    `Cannot make a ${mask}: ${name} is ${told(value)}, expected a whole number >= ${least}`,
  );
}

/** The causal window of `windowSize` keys, the query's own among them; Infinity for all. */
export function causalWindow(
  mask: string,
  alignment: Window["alignment"],
  windowSize: number,
): Window {
  return { alignment, left: checkedReach(mask, "windowSize", windowSize, 1) - 1, right: 0 };
}

/** The window from `windowLeft` keys before the query's own to `windowRight` behind it. */
export function localWindow(mask: string, windowLeft: number, windowRight: number): Window {
  return {
    alignment: "bottom-right",
    left: checkedReach(mask, "windowLeft", windowLeft, 0),
    right: checkedReach(mask, "windowRight", windowRight, 0),
  };
}

/** How far a window reaches, in keys: a whole number that is not below `least`, or Infinity. */
export function checkedReach(mask: string, name: string, value: number, least: number): number {
  if (value === Infinity || (Number.isSafeInteger(value) && value >= least)) return value;
  throw new RangeError(
    `Cannot make a ${mask}: ${name} is ${
      told(value)
    }, expected a whole number >= ${least} or Infinity`,
  );
}

/** The sum of lengths. */
export function total(lengths: readonly number[]): number {
  return lengths.reduce((sum, length) => sum + length, 0);
}

/** Where each of several runs begins that lie one after the other from 0. */
export function begins(lengths: readonly number[]): number[] {
  let end = 0;
  return lengths.map((length) => (end += length) - length);
}

/** What speaks against packed queries of these sizes, see `AttentionBias.mismatch`. */
export function queryMismatch(
  batch: number,
  queries: number,
  qSeqlen: readonly number[],
): string | undefined {
  if (batch !== 1) {
    return "expected B = 1 for packed sequences, put them one after the other along M";
  }
  const expected = total(qSeqlen);
  return queries === expected ? undefined : `expected Mq = ${expected}, the sum of qSeqlen`;
}
