/** Figures as JSON that every reader of a notebook takes, and as one line of text. */
import { TensorBase } from "../../mod.ts";
import { distancesOf, lastPlace, round } from "./digits.ts";
import type { Figure } from "./figure.ts";

/** Digits of numbers in the JSON: more than a screen shows, and half the bytes. */
const DIGITS = 6;
/** Digits of the distance of numbers on one scale, which may lie far from zero. */
const GAP_DIGITS = 4;
/** What a trace has beside x and y that is drawn along the axis of its values. */
const ALONG_VALUES = ["base", "q1", "median", "q3", "lowerfence", "upperfence", "mean"];
/** What is not drawn, and holds numbers of several kinds in one array. */
const NOT_DRAWN = ["customdata", "meta"];

/** Width and height in pixels. */
export interface Size {
  readonly width: number;
  readonly height: number;
}

/** A figure that is plain JSON, of a given size. */
export interface FigureJson extends Figure {
  readonly data: readonly Record<string, unknown>[];
  readonly layout: Record<string, unknown> & Size;
  readonly config: Record<string, unknown>;
}

type Trace = Record<string, unknown>;

/**
 * Brings a figure into plain JSON: typed arrays and BigInts become arrays and numbers, those that JSON lacks
 * become null, which plotly leaves out, and numbers in the arrays of traces are rounded if they are no integers.
 *
 * @throws {TypeError} If the figure has no traces, or holds a tensor.
 */
export function figureJson(figure: Figure, size: Size): FigureJson {
  if (!Array.isArray(figure?.data)) {
    throw new TypeError(
      `Cannot plot: figure.data is ${typeof figure?.data}, expected an array of traces`,
    );
  }
  return {
    data: roundTraces(plain(figure.data, "figure.data") as unknown[]) as Trace[],
    layout: { ...plain(figure.layout ?? {}, "figure.layout") as object, ...size },
    config: {
      displaylogo: false,
      ...plain(figure.config ?? {}, "figure.config") as object,
      responsive: false,
    },
  };
}

function plain(value: unknown, path: string): unknown {
  if (typeof value === "number") return Number.isFinite(value) ? value : null;
  if (typeof value === "bigint") return Number(value);
  if (typeof value !== "object" || value === null || value instanceof Date) return value;
  if (value instanceof TensorBase) {
    throw new TypeError(
      `Cannot plot: ${path} is ${value}, expected numbers; read them by "await tensor.toArray()"`,
    );
  }
  if (ArrayBuffer.isView(value)) {
    // A DataView has no elements of its own and becomes an empty array.
    return Array.from(value as unknown as ArrayLike<number | bigint>, (item) => plain(item, path));
  }
  if (Array.isArray(value)) return value.map((item, n) => plain(item, `${path}[${n}]`));
  return Object.fromEntries(
    Object.entries(value).map(([key, item]) => [key, plain(item, `${path}.${key}`)]),
  );
}

/**
 * Rounds the numbers in the arrays of traces, by their distances within the array and within all that is drawn
 * on the same scale. Numbers outside of arrays, as in the layout, are few, and stay as they are.
 */
function roundTraces(traces: readonly unknown[]): unknown[] {
  const scales = new Map<string, number[][]>();
  for (const trace of traces) {
    if (!isObject(trace)) continue; // plotly.js says what is wrong with it.
    mapArrays(trace, (array, path) => {
      const scale = scaleOf(trace, path);
      scales.set(scale, [...scales.get(scale) ?? [], numbersIn(array)]);
    });
  }
  const placeOf = (numbers: number[]) => lastPlace(distancesOf(numbers).gap, GAP_DIGITS);
  const places = new Map([...scales].map(([scale, arrays]) => [scale, placeOf(arrays.flat())]));
  return traces.map((trace) => {
    if (!isObject(trace)) return trace;
    return mapArrays(trace, (array, path) => {
      if (NOT_DRAWN.includes(path)) return array;
      const place = Math.min(places.get(scaleOf(trace, path))!, placeOf(numbersIn(array)));
      return mapNumbers(array, (number) => round(number, DIGITS, place));
    });
  });
}

function isObject(value: unknown): value is Trace {
  return typeof value === "object" && value !== null && !(value instanceof Date);
}

/** The axis along which an attribute of a trace is drawn; for others the attribute's own name. */
function scaleOf({ orientation, xaxis = "x", yaxis = "y" }: Trace, path: string): string {
  if (ALONG_VALUES.includes(path)) return String(orientation === "h" ? xaxis : yaxis);
  return String(path === "x" ? xaxis : path === "y" ? yaxis : path);
}

/** A copy of an object in which a function replaces the arrays, also those of objects in it. */
function mapArrays(
  value: Trace,
  replace: (array: unknown[], path: string) => unknown,
  before = "",
): Trace {
  return Object.fromEntries(
    Object.entries(value).map(([key, item]) => {
      const path = before + key;
      if (Array.isArray(item)) return [key, replace(item, path)];
      return [key, isObject(item) ? mapArrays(item, replace, `${path}.`) : item];
    }),
  );
}

function mapNumbers(value: unknown, replace: (number: number) => number): unknown {
  if (Array.isArray(value)) return value.map((item) => mapNumbers(item, replace));
  return typeof value === "number" ? replace(value) : value;
}

function numbersIn(array: readonly unknown[]): number[] {
  return array.flat(Infinity).filter((item) => typeof item === "number");
}

/** What the figure shows, in one line: the title, and each trace with its name and size. */
export function describeFigure({ data, layout }: FigureJson): string {
  const title = textOf(layout["title"]);
  const traces = data.map((trace) => {
    const name = textOf(trace["name"]);
    return [trace["type"] ?? "scatter", name && `"${name}"`, traceSize(trace)]
      .filter(Boolean).join(" ");
  });
  return `[plot${title && `: ${title}`}] ${traces.join(", ") || "no traces"}`;
}

/** Of a title, which is a text or an object with one; HTML tags are left out. */
function textOf(title: unknown): string {
  const text = typeof title === "object" ? (title as { text?: unknown } | null)?.text : title;
  return typeof text === "string" ? text.replace(/<[^>]*>/g, " ").replace(/\s+/g, " ").trim() : "";
}

function traceSize({ z, x, y, values }: Record<string, unknown>): string {
  if (Array.isArray(z)) {
    return Array.isArray(z[0]) ? `(${z.length} x ${z[0].length})` : `(${z.length} points)`;
  }
  const points = [y, x, values].find(Array.isArray);
  return points ? `(${points.length} points)` : "";
}
