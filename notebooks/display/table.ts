/** Tables. */
import { assertArguments, checkedOptions, type OptionNames, told } from "../../gpu/checks.ts";
import { roundApart } from "./digits.ts";
import { escapeHtml } from "./html.ts";
import { display } from "./kernel.ts";

/** Options of {@linkcode table}. */
export interface TableOptions {
  /** What the table shows, written above it. */
  readonly caption?: string | undefined;
}

const OPTIONS: OptionNames<TableOptions> = { caption: "string" };

/** Significant digits of numbers that are no integers, where these tell the numbers of a column apart. */
const DIGITS = 4;

/** A cell's text, and where in its column it stands. */
interface Cell {
  readonly text: string;
  readonly isRight: boolean;
}

/**
 * Shows rows as a table.
 *
 * @param rows One object a row; columns are in the order in which they first appear, and a value that a row lacks is an empty cell. Numbers stand on the
 * right, those that are no integers with four significant digits, or as many as tell them apart from others
 * in their column; texts stand as they are.
 * @param options A caption.
 * @throws {TypeError} If the rows are no array of objects.
 *
 * @example
 * ```ts ignore
 * await table([{ tokens: 1024, "time (ms)": 3.14159 }, { tokens: 2048, "time (ms)": 12.5 }]);
 * ```
 */
export async function table(
  rows: readonly Readonly<Record<string, unknown>>[],
  options: TableOptions = {},
): Promise<void> {
  assertArguments("show a table", arguments, 2, "write { caption }");
  assertRows(rows);
  const { caption } = checkedOptions("show a table", options, OPTIONS);
  const lines = formatRows(rows);
  await display({
    "text/html": tableHtml(lines, caption),
    "text/plain": tableText(lines, caption),
  });
}

function assertRows(rows: unknown): void {
  if (!Array.isArray(rows)) {
    throw new TypeError(
      `Cannot show a table: rows is ${told(rows)}, expected an array of objects`,
    );
  }
  for (const [n, row] of rows.entries()) {
    if (typeof row !== "object" || row === null || Array.isArray(row)) {
      const found = Array.isArray(row) ? "an array" : String(row);
      throw new TypeError(`Cannot show a table: rows[${n}] is ${found}, expected an object`);
    }
  }
}

/** The names of the columns, then each row; a name stands as the numbers below it. */
function formatRows(rows: readonly Readonly<Record<string, unknown>>[]): Cell[][] {
  const names = [...new Set(rows.flatMap((row) => Object.keys(row)))];
  if (names.length === 0) return [[{ text: "no rows", isRight: false }]];
  const columns = names.map((name) => formatColumn(rows.map((row) => row[name])));
  const head = names.map((text, n) => ({
    text,
    isRight: columns[n]!.some((cell) => cell.isRight),
  }));
  return [head, ...rows.map((_, n) => columns.map((cells) => cells[n]!))];
}

function formatColumn(values: readonly unknown[]): Cell[] {
  const numbers = values.filter((value) => typeof value === "number");
  const rounded = roundApart(numbers, DIGITS).values();
  return values.map((value) => {
    if (value === undefined || value === null) return { text: "", isRight: false };
    if (typeof value === "number") {
      return { text: numberText(rounded.next().value!), isRight: true };
    }
    return { text: String(value), isRight: typeof value === "bigint" };
  });
}

function numberText(value: number): string {
  // Errors below one another are told apart by their exponents.
  const isSmall = !Number.isInteger(value) && Math.abs(value) < 1e-3;
  return isSmall ? value.toExponential() : String(value);
}

function tableText(lines: readonly (readonly Cell[])[], caption: string | undefined): string {
  const widths = lines[0]!.map((_, n) => Math.max(...lines.map((cells) => cells[n]!.text.length)));
  const texts = lines.map((cells) =>
    cells.map(({ text, isRight }, n) =>
      isRight ? text.padStart(widths[n]!) : text.padEnd(widths[n]!)
    ).join("  ").trimEnd()
  );
  const rule = widths.map((width) => "-".repeat(width)).join("  ");
  return [...(caption === undefined ? [] : [caption]), texts[0], rule, ...texts.slice(1)].join(
    "\n",
  );
}

function tableHtml(lines: readonly (readonly Cell[])[], caption: string | undefined): string {
  const [head = "", ...body] = lines.map((cells, line) => {
    const tag = line === 0 ? "th" : "td";
    return `<tr>${
      cells.map(({ text, isRight }) =>
        `<${tag} style="text-align:${isRight ? "right" : "left"}">${escapeHtml(text)}</${tag}>`
      ).join("")
    }</tr>`;
  });
  const title = caption === undefined
    ? ""
    : `<caption style="text-align:left;white-space:nowrap">${escapeHtml(caption)}</caption>`;
  return `<table>${title}<thead>${head}</thead><tbody>${body.join("")}</tbody></table>`;
}
