/** Results as text. */
import type { Ceilings } from "./ceilings.ts";
import type { Verdict } from "./must.ts";
import { OURS } from "./ours.ts";
import { type Outcome, type Results, type Row, timedOutcome } from "./results.ts";

/** The columns. Sums are f32 whatever is stored, so the f32 ceiling is that of all cases. */
const COLUMNS = [
  { title: "case", width: 66 },
  { title: "by", width: 16 },
  { title: "GPU ms", width: 10 },
  { title: "wall ms", width: 10 },
  { title: "TFLOP/s", width: 9 },
  { title: "of FMA", width: 7 },
  { title: "peak MiB", width: 10 },
  { title: "wall by ours", width: 13 },
] as const;

/** The titles of the columns, and a rule below. */
export function formatHeader(): string {
  const titles = cells(COLUMNS.map(({ title }) => title));
  return `${titles}\n${"-".repeat(titles.length)}`;
}

/** A row's lines, one for each contender; what was not timed is followed by the reason. */
export function formatRow(row: Row, ceilings: Ceilings | null): string {
  const ours = timedOutcome(row, OURS)?.wallMs;
  return row.outcomes.map((outcome, n) => {
    const name = n === 0 ? row.case.name : "";
    if (outcome.tflops === undefined) {
      return `${cells([name, outcome.contender])}  ${failure(outcome)}`;
    }
    const { contender, gpuMs, wallMs, tflops, peakBytes } = outcome;
    const ratio = ours !== undefined && wallMs !== undefined && contender !== OURS
      ? `${number(wallMs / ours)} x`
      : "";
    const line = cells([
      name,
      contender,
      number(gpuMs),
      number(wallMs),
      number(tflops),
      ceilings && gpuMs !== undefined ? `${(100 * tflops / ceilings.f32.rate).toFixed(0)} %` : "",
      peakBytes === undefined ? "" : number(peakBytes / 2 ** 20),
      ratio,
    ]);
    return row.case.set === "decode" && gpuMs !== undefined
      ? `${line}  ${number(row.inputBytes / gpuMs / 1e6)} GB/s`
      : line;
  }).join("\n");
}

/** What the adapter can do at best. */
export function formatCeilings(ceilings: Ceilings | null): string {
  if (!ceilings) return "No ceilings: the adapter has no timestamps.";
  const { f32, f16, copy } = ceilings;
  return [
    `f32 multiply-adds  ${number(f32.rate)} TFLOP/s (${f32.form})`,
    f16 ? `f16 multiply-adds  ${number(f16.rate)} TFLOP/s (${f16.form})` : "no f16 in kernels",
    `copy               ${number(copy.rate)} GB/s read and written (${copy.form})`,
  ].join("\n");
}

/** The wanted figures. */
export function formatVerdicts(verdicts: readonly Verdict[]): string {
  return verdicts.map(({ what, measured, limit, better, unit, verdict }) => {
    const space = unit === "" || unit === "x" ? unit : ` ${unit}`;
    const reached = measured === null ? "-" : number(measured) + space;
    const wanted = `${better === "more" ? "at least" : "at most"} ${limit}${space}`;
    return `${what.padEnd(56)} ${reached.padStart(14)}   ${wanted.padEnd(22)} ${verdict}`;
  }).join("\n");
}

/** The lines above the table. */
export function formatRun({ adapter, date, versions }: Omit<Results, "rows">): string {
  const all = Object.entries(versions).map(([name, version]) => `${name} ${version}`);
  return `${adapter.name}\n${date}, ${all.join(", ")}`;
}

function failure({ status, reason, peakBytes }: Outcome): string {
  const peak = peakBytes === undefined ? "" : ` (peak ${number(peakBytes / 2 ** 20)} MiB)`;
  return `${status}${peak}: ${(reason ?? "").slice(0, 120)}`;
}

/** Three digits. */
function number(value: number | undefined): string {
  if (value === undefined) return "";
  if (value >= 100) return value.toFixed(0);
  return value.toFixed(value >= 10 ? 1 : value >= 1 ? 2 : value >= 0.1 ? 3 : 4);
}

/** The first two columns begin at the left. */
function cells(texts: readonly string[]): string {
  return texts.map((text, n) => {
    const { width } = COLUMNS[n]!;
    return n < 2 ? text.padEnd(width) : text.padStart(width);
  }).join(" ").trimEnd();
}
