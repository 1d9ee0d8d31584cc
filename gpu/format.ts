/**
 * Tensors as text, the way PyTorch prints them: four decimals, columns aligned, scientific notation
 * where magnitudes differ much, and only the edges of tensors of more than 1000 elements.
 *
 * Only numbers come in, so a caller fetches no more than the text shows: {@linkcode summaryAxes}
 * says which elements those are, and {@linkcode formatTensor} takes them.
 */

import type { DType } from "./dtype.ts";
import { formatShape, numel } from "./shape.ts";

/** Elements shown at either end of an axis that is cut. */
const EDGE_ITEMS = 3;
/** The most elements of a tensor that is shown whole. */
const THRESHOLD = 1000;
/** Digits after the point. */
const PRECISION = 4;
/** Columns of text. */
const LINE_WIDTH = 80;

const PREFIX = "tensor(";

/** Options of {@linkcode formatTensor}. */
export interface FormatOptions {
  /** Whether `data` holds only what {@linkcode summaryAxes} keeps; true unless told. */
  readonly summarized?: boolean;
}

/** Elements as text, of equal width where they can be. */
interface ElementFormat {
  readonly width: number;
  readonly format: (value: number) => string;
}

/** One axis: how many elements the data has of it, and whether a middle part is left out. */
interface Axis {
  readonly size: number;
  readonly cut: boolean;
}

/**
 * Which axes of a tensor are cut to their edges when it is printed.
 *
 * @param shape The tensor's shape.
 * @returns For each axis how many elements are kept at its start and its end, or null for all.
 *
 * @example A long axis and a short one
 * ```ts ignore
 * summaryAxes([1000, 4]); // [[3, 3], null]
 * summaryAxes([100, 4]); // [null, null]
 * ```
 */
export function summaryAxes(shape: readonly number[]): (readonly [number, number] | null)[] {
  const summarized = numel(shape) > THRESHOLD;
  return shape.map((size) =>
    summarized && size > 2 * EDGE_ITEMS ? [EDGE_ITEMS, EDGE_ITEMS] as const : null
  );
}

/**
 * The text of a tensor.
 *
 * @param shape The tensor's shape, of which `data` may hold the edges only.
 * @param data Elements in row-major order; 0 and 1 for `bool`.
 * @param dtype The element type, named at the end unless it is `f32` or shows in the elements.
 * @param options Whether `data` is what {@linkcode summaryAxes} keeps or the whole tensor.
 * @returns Text of one or more lines, without a line break at the end.
 *
 * @example Two rows
 * ```ts ignore
 * formatTensor([2, 2], [0.1, -2, 3, 4], "f32");
 * // tensor([[ 0.1000, -2.0000],
 * //         [ 3.0000,  4.0000]])
 * ```
 */
export function formatTensor(
  shape: readonly number[],
  data: ArrayLike<number>,
  dtype: DType,
  options: FormatOptions = {},
): string {
  const { summarized = true } = options;
  const edges = summaryAxes(shape);
  const axes = shape.map((size, axis): Axis => {
    const edge = summarized ? edges[axis] : null;
    return edge ? { size: edge[0] + edge[1], cut: true } : { size, cut: false };
  });
  const kept = axes.map(({ size }) => size);
  if (data.length !== numel(kept)) {
    throw new RangeError(
      `Cannot format tensor ${formatShape(shape)}: got ${data.length} elements, expected ${
        numel(kept)
      }`,
    );
  }

  if (data.length === 0) {
    const size = shape.length === 1 ? [] : [`size=(${shape.join(", ")})`];
    return withSuffixes(`${PREFIX}[]`, [...size, ...(dtype === "f32" ? [] : [`dtype=${dtype}`])]);
  }
  const elements = elementFormat(Array.from(data), dtype);
  const body = formatAxes(axes, data, elements, PREFIX.length);
  const dtypeShows = dtype === "f32" || dtype === "bool";
  return withSuffixes(PREFIX + body, dtypeShows ? [] : [`dtype=${dtype}`]);
}

function formatAxes(
  axes: readonly Axis[],
  data: ArrayLike<number>,
  elements: ElementFormat,
  indent: number,
  start = 0,
): string {
  const [axis, ...inner] = axes;
  if (axis === undefined) return elements.format(data[start]!);
  if (inner.length === 0) return formatRow(axis, data, elements, indent, start);

  const stride = numel(inner.map(({ size }) => size));
  const slices: string[] = [];
  for (let n = 0; n < axis.size; n++) {
    if (axis.cut && n === EDGE_ITEMS) slices.push("...");
    slices.push(formatAxes(inner, data, elements, indent + 1, start + n * stride));
  }
  // One blank line between matrices, two between stacks of them, and so on.
  return `[${slices.join("," + "\n".repeat(inner.length) + " ".repeat(indent + 1))}]`;
}

function formatRow(
  axis: Axis,
  data: ArrayLike<number>,
  elements: ElementFormat,
  indent: number,
  start: number,
): string {
  const entries: string[] = [];
  for (let n = 0; n < axis.size; n++) {
    if (axis.cut && n === EDGE_ITEMS) entries.push(" ...");
    entries.push(elements.format(data[start + n]!));
  }
  const entryWidth = elements.width + ", ".length;
  const perLine = Math.max(1, Math.floor((LINE_WIDTH - indent) / entryWidth));
  const lines: string[] = [];
  for (let n = 0; n < entries.length; n += perLine) {
    lines.push(entries.slice(n, n + perLine).join(", "));
  }
  return `[${lines.join(",\n" + " ".repeat(indent + 1))}]`;
}

/** Appends `, suffix` each on the same line if it fits, and closes the parenthesis. */
function withSuffixes(text: string, suffixes: readonly string[]): string {
  let result = text;
  for (const suffix of suffixes) {
    const column = result.length - result.lastIndexOf("\n");
    const fits = column + 1 + ", ".length + suffix.length <= LINE_WIDTH;
    result += (fits ? ", " : ",\n" + " ".repeat(PREFIX.length)) + suffix;
  }
  return result + ")";
}

function elementFormat(values: readonly number[], dtype: DType): ElementFormat {
  switch (dtype) {
    case "bool":
      return aligned(values, (value) => value === 0 ? "False" : "True");
    case "i32":
    case "u32":
      return aligned(values, String);
    case "f32":
    case "f16":
    case "bf16":
      return floatFormat(values);
  }
}

function floatFormat(values: readonly number[]): ElementFormat {
  // Zeros, infinities and NaN have no say in the notation or the width.
  const ordinary = values.filter((value) => Number.isFinite(value) && value !== 0);
  const magnitudes = ordinary.map(Math.abs);
  const greatest = magnitudes.reduce((a, b) => Math.max(a, b), 0);
  const least = magnitudes.reduce((a, b) => Math.min(a, b), Infinity);
  if (greatest / least > 1000 || greatest > 1e8 || least < 1e-4) {
    return aligned(ordinary, scientific);
  }
  if (ordinary.every(Number.isInteger)) return aligned(ordinary, integral);
  return aligned(ordinary, fixed);
}

function aligned(measured: readonly number[], format: (value: number) => string): ElementFormat {
  const width = measured.reduce((a, value) => Math.max(a, format(value).length), 1);
  return { width, format: (value) => format(value).padStart(width) };
}

/** `3.` */
function integral(value: number): string {
  return nonFinite(value) ?? `${Object.is(value, -0) ? "-0" : value}.`;
}

/** `3.1416` */
function fixed(value: number): string {
  const text = nonFinite(value);
  if (text !== undefined) return text;
  const magnitude = Math.abs(value);
  return sign(value) + tiesToEven(magnitude.toFixed(PRECISION), magnitude.toFixed(MOST_DIGITS));
}

/** `3.1416e+00` */
function scientific(value: number): string {
  const text = nonFinite(value);
  if (text !== undefined) return text;
  const magnitude = Math.abs(value);
  const [rounded, exponent] = splitExponent(magnitude.toExponential(PRECISION));
  const [exact, exactExponent] = splitExponent(magnitude.toExponential(MOST_DIGITS));
  // Exponents differ where rounding went up to the next power of ten, which is even.
  const mantissa = exponent === exactExponent ? tiesToEven(rounded, exact) : rounded;
  const digits = String(Math.abs(exponent)).padStart(2, "0");
  return `${sign(value)}${mantissa}e${exponent < 0 ? "-" : "+"}${digits}`;
}

function nonFinite(value: number): string | undefined {
  if (Number.isNaN(value)) return "nan";
  if (value === Infinity) return "inf";
  return value === -Infinity ? "-inf" : undefined;
}

function sign(value: number): string {
  return value < 0 || Object.is(value, -0) ? "-" : "";
}

function splitExponent(text: string): [mantissa: string, exponent: number] {
  const [mantissa, exponent] = text.split("e");
  return [mantissa!, Number(exponent)];
}

/** The most digits that toFixed and toExponential give: enough to tell a tie for certain. */
const MOST_DIGITS = 100;

/**
 * Rounds a number half-way between two decimals to the even one, as PyTorch does; JavaScript rounds
 * it up, so that 0.03125 would read 0.0313.
 */
function tiesToEven(rounded: string, exact: string): string {
  const end = exact.indexOf(".") + 1 + PRECISION;
  const isTie = /^50*$/.test(exact.slice(end));
  const isEven = Number(exact[end - 1]) % 2 === 0;
  return isTie && isEven ? exact.slice(0, end) : rounded;
}
