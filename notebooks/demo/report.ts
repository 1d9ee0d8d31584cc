/** The demo's findings as text. */
import type {
  AttentionShape,
  Comparison,
  DemoResult,
  LayerResult,
  LongResult,
  Measurement,
  MemoryResult,
} from "./measure.ts";
import type { DeviceInfo } from "@denoformers/attention";

/** Width of the first column, and of the two with numbers. */
const LABEL_WIDTH = 38;
const NUMBER_WIDTH = 18;

const HEADER = row("", "memory-efficient", "math");

/**
 * Lays the findings out.
 *
 * @param result The findings.
 * @returns Lines of text, with a line break at the end.
 */
export function formatReport(result: DemoResult): string {
  const clock = result.clock === "gpu" ? "median time on the GPU" : "median time to result";
  const parts = [
    ...describeDevice(result.device),
    "",
    ...describeLayer(result.layer, result.dtype, clock),
  ];
  if (result.long) parts.push("", ...describeLong(result.long, clock));
  if (result.memory) parts.push("", ...describeMemory(result.memory));
  if (result.clock === "wall") {
    parts.push(
      "",
      "This device cannot time its kernels; times are from the call until the result is there.",
    );
  }
  return parts.join("\n") + "\n";
}

function describeDevice(info: DeviceInfo): string[] {
  const { vendor, architecture, isFallback, subgroupSize, limits } = info;
  const rows = [
    ["adapter", info.adapter + (isFallback ? ", computes on the CPU" : "")],
    ["vendor", [vendor, architecture].filter((text) => text !== "").join(", ")],
    ["runtime", info.runtime],
    ["subgroup size", subgroupSize > 0 ? `${subgroupSize}` : "no subgroups"],
    ["f16 in kernels", info.f16 ? "yes" : "no"],
    [
      "largest binding",
      formatBytes(Math.min(limits.maxStorageBufferBindingSize, limits.maxBufferSize)),
    ],
  ];
  return ["Device", ...rows.map(([name, value]) => `  ${name!.padEnd(16)}${value}`)];
}

function describeLayer(
  { shape, dim, output, attention, layer }: LayerResult,
  dtype: string,
  clock: string,
): string[] {
  const { batch, tokens, heads, headDim } = shape;
  const size = `[${batch}, ${tokens}, ${dim}]`;
  return [
    `Self-attention, ${dtype}: ${plural(batch, "sequence")} of ${plural(tokens, "token")}`,
    `  x ${size} -> LayerNorm(${dim}) -> Attention(${dim}, ${
      plural(heads, "head")
    } of ${headDim}) ` +
    `-> y ${size}`,
    "",
    output,
    "",
    'The same with all scores in memory ("math")',
    HEADER,
    ...attentionRows(attention, clock),
    ...wholeRows(layer, clock),
    ...endRows(layer),
  ];
}

function describeLong({ shape, attention, reducedFrom }: LongResult, clock: string): string[] {
  return [
    `Attention alone: query, key, value ${formatShape(shape)} (batch, tokens, heads, head dim)`,
    ...reduction(reducedFrom),
    HEADER,
    ...attentionRows(attention, clock),
    ...endRows(attention),
  ];
}

function describeMemory(memory: MemoryResult): string[] {
  const { shape, inputBytes, outputBytes, peakBytes, scoresBytes, mathRefused } = memory;
  const inputsAndOutput = inputBytes + outputBytes;
  const lines = [
    `Memory at ${formatShape(shape)}`,
    ...reduction(memory.reducedFrom),
    `  memory-efficient  peak ${formatBytes(peakBytes)} = inputs ${formatBytes(inputBytes)} + ` +
    `output ${formatBytes(outputBytes)} + ${formatBytes(peakBytes - inputsAndOutput)}`,
    `  math              would take ${formatBytes(scoresBytes)} more, for scores and weights` +
    (mathRefused === null ? "" : "; it does not run here:"),
  ];
  if (mathRefused !== null) lines.push(`    ${mathRefused}`);
  return lines;
}

/** Why sizes are not those of other devices, where they are not. */
function reduction(from: AttentionShape | null): string[] {
  return from
    ? [`  (smaller than ${formatShape(from)}: this device is slow or does not fit it)`]
    : [];
}

/** Time and memory of attention without projections. */
function attentionRows({ memoryEfficient: ours, math }: Comparison, clock: string): string[] {
  return [
    row(`attention, ${clock}`, ...both(ours, math, ({ medianMs }) => formatMs(medianMs))),
    row("attention, first call", ...both(ours, math, ({ firstCallMs }) => formatMs(firstCallMs))),
    row("attention, peak memory", ...both(ours, math, ({ peakBytes }) => formatBytes(peakBytes))),
  ];
}

function wholeRows({ memoryEfficient: ours, math }: Comparison, clock: string): string[] {
  return [
    row(`layer, ${clock}`, ...both(ours, math, ({ medianMs }) => formatMs(medianMs))),
    row("layer, peak memory", ...both(ours, math, ({ peakBytes }) => formatBytes(peakBytes))),
  ];
}

function endRows(comparison: Comparison): string[] {
  const { math, maxAbsDifference } = comparison;
  if ("refused" in math) return [`  math does not run here: ${math.refused}`];
  return [row("largest difference of the results", formatDifference(maxAbsDifference))];
}

function row(label: string, ...cells: string[]): string {
  return `  ${label}`.padEnd(LABEL_WIDTH) +
    cells.map((cell) => cell.padStart(NUMBER_WIDTH)).join("");
}

function both(
  ours: Measurement,
  math: Comparison["math"],
  format: (measurement: Measurement) => string,
): [string, string] {
  return [format(ours), "refused" in math ? "-" : format(math)];
}

function formatShape({ batch, tokens, heads, headDim }: AttentionShape): string {
  return `[${[batch, tokens, heads, headDim].join(", ")}]`;
}

function plural(count: number, noun: string): string {
  return count === 1 ? `1 ${noun}` : `${count} ${noun}s`;
}

function formatDifference(difference: number | null): string {
  if (difference === null) return "-";
  return difference === 0 ? "0" : difference.toExponential(1);
}

/** Three digits, in milliseconds or seconds. */
function formatMs(milliseconds: number): string {
  if (milliseconds >= 999.5) return `${threeDigits(milliseconds / 1000)} s`;
  return `${threeDigits(milliseconds)} ms`;
}

const BYTE_UNITS = ["B", "KiB", "MiB", "GiB"] as const;

/** Three digits, in the unit that leaves at least one before the point. */
function formatBytes(bytes: number): string {
  let value = bytes;
  let unit = 0;
  while (value >= 999.5 && unit < BYTE_UNITS.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${unit === 0 ? value : threeDigits(value)} ${BYTE_UNITS[unit]}`;
}

function threeDigits(value: number): string {
  const magnitude = Math.floor(Math.log10(Math.max(value, 1)));
  return value.toFixed(Math.max(0, 2 - magnitude));
}
