/** What the page says in words and numbers. */
import {
  type DeviceInfo,
  DeviceLostError,
  GpuOutOfMemoryError,
  GpuUnavailableError,
} from "@denoformers/attention";
import { exponentsOf, type Measured, type Point, WAYS } from "./points.ts";
import { HEAD_DIM, MASKS, type Settings } from "./settings.ts";
import { formatBytes, formatDuration, formatTokens } from "./text.ts";

const WHERE_WEBGPU_IS =
  "WebGPU is in Chrome and Edge from version 113, in Safari from 26, in Firefox from 141, on some systems " +
  "later. The page has to come from https://, or from this computer (http://127.0.0.1).";

/** Columns of the table of points. */
export const COLUMNS: readonly string[] = ["N", "way", "peak memory", "time", "error", "note"];

/** Columns of the table of exponents. */
export const EXPONENT_COLUMNS: readonly string[] = ["way", "memory", "time"];

/** The rows of the table of points, as texts. */
export function pointRows(points: readonly Point[]): string[][] {
  return points.map((point) => {
    const head = [formatTokens(point.tokens), point.way];
    if (point.kind !== "measured") return [...head, "–", "–", "–", point.note];
    const { peakBytes, milliseconds } = point;
    return [...head, formatBytes(peakBytes), formatDuration(milliseconds), ...verdict(point)];
  });
}

/** What the device refused, one text for each way that it refused: the first error is that of all longer lengths. */
export function refusalTexts(points: readonly Point[]): string[] {
  return WAYS.flatMap((way) => {
    const first = points.find((point) => point.kind === "refused" && point.way === way);
    return first?.kind === "refused" && first.message
      ? [`${way}, N = ${formatTokens(first.tokens)}: ${first.message}`]
      : [];
  });
}

/** The rows of the table of exponents, one for each way with three lengths or more. */
export function exponentRows(points: readonly Point[], settings: Settings): string[][] {
  return WAYS.flatMap((way) => {
    const exponents = exponentsOf(points, way, settings);
    if (!exponents) return [];
    const { peakBytes, milliseconds } = exponents;
    return [[way, `N^${peakBytes.toFixed(2)}`, `N^${milliseconds.toFixed(2)}`]];
  });
}

/** What is measured, in one line. */
export function describeSettings({ heads, mask, dtype, isTraining }: Settings): string {
  const pass = isTraining ? "forward and backward" : "forward";
  return `[1, N, ${heads}, ${HEAD_DIM}], ${dtype}, ${pass}, mask: ${MASKS[mask].label}`;
}

/** What there is to know of browser and device, by name. */
export function deviceFacts(info: DeviceInfo): [name: string, value: string][] {
  const { adapter, vendor, architecture, isFallback, runtime, subgroupSize, f16, limits } = info;
  const maker = [vendor, architecture].filter((text) => text !== "").join(", ");
  return [
    ["adapter", adapter + (isFallback ? ", computes on the CPU" : "")],
    ["vendor", maker || "not told"],
    ["browser", runtime],
    ["largest binding", formatBytes(limits.maxStorageBufferBindingSize)],
    ["largest buffer", formatBytes(limits.maxBufferSize)],
    ["workgroup memory", formatBytes(limits.maxComputeWorkgroupStorageSize)],
    ["f16 in kernels", f16 ? "yes" : "no; f16 is unpacked to f32"],
    ["subgroups", subgroupSize > 0 ? `of ${subgroupSize}` : "none"],
  ];
}

/** An error as the page shows it: what happened, and what to do. */
export interface ErrorText {
  readonly title: string;
  readonly text: string;
  /** Whether a new device may help. */
  readonly needsDevice: boolean;
}

/**
 * Puts an error into words.
 *
 * @param error Whatever was thrown.
 * @returns Its text; nothing of it is lost.
 */
export function errorText(error: unknown): ErrorText {
  const text = error instanceof Error ? error.message : String(error);
  if (error instanceof GpuUnavailableError) {
    return { title: "No usable GPU", text: `${text}\n${WHERE_WEBGPU_IS}`, needsDevice: true };
  }
  if (error instanceof DeviceLostError) {
    return { title: "The GPU device was lost", text, needsDevice: true };
  }
  if (error instanceof GpuOutOfMemoryError) {
    return { title: "Out of GPU memory", text, needsDevice: false };
  }
  const name = error instanceof Error ? error.name : "Error";
  return { title: `Unexpected: ${name}`, text, needsDevice: false };
}

function verdict({ error, isRight }: Measured): [error: string, note: string] {
  return [error.toExponential(1), isRight ? "rows agree with float64" : "WRONG ROWS"];
}
