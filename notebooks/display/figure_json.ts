/** Figures as JSON that every reader of a notebook takes, and as one line of text. */
import { TensorBase } from "../../mod.ts";
import type { Figure } from "./figure.ts";

/** Significant digits of numbers in the JSON: more than a screen shows, and half the bytes. */
const DIGITS = 6;

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

/**
 * Brings a figure into plain JSON: typed arrays and BigInts become arrays and numbers, numbers that are no
 * integers are rounded, and those that JSON lacks become null, which plotly leaves out.
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
    data: plain(figure.data, "figure.data") as Record<string, unknown>[],
    layout: { ...plain(figure.layout ?? {}, "figure.layout") as object, ...size },
    config: {
      displaylogo: false,
      ...plain(figure.config ?? {}, "figure.config") as object,
      responsive: false,
    },
  };
}

function plain(value: unknown, path: string): unknown {
  if (typeof value === "number") return plainNumber(value);
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

function plainNumber(value: number): number | null {
  if (!Number.isFinite(value)) return null;
  return Number.isInteger(value) ? value : Number(value.toPrecision(DIGITS));
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
