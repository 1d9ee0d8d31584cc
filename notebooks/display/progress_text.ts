/** The line that shows how far a computation is. */
import cliProgress from "npm:cli-progress@3.12.0";
import { round } from "./digits.ts";
import { escapeHtml } from "./html.ts";

/** How far a computation is. */
export interface ProgressState {
  readonly label: string;
  readonly done: number;
  readonly total: number;
  readonly note: string;
  /** Milliseconds since it began. */
  readonly elapsed: number;
}

/** Characters of the bar. */
const BAR_SIZE = 24;

/** What of the package is used, which has no types of its own: it fills in a format. */
type Formatter = (
  options: Readonly<Record<string, unknown>>,
  state: Readonly<Record<string, number>>,
  payload: Readonly<Record<string, string>>,
) => string;

const formatter: Formatter = cliProgress.Format.Formatter;

/** As text, with a bar. */
export function progressText(state: ProgressState): string {
  return format(state, "{label}[{bar}] {numbers}{note}");
}

/** As HTML, with a bar of the page's own. */
export function progressHtml(state: ProgressState): string {
  const { done, total } = state;
  // A bar of nothing at all is full.
  const [value, max] = total > 0 ? [done, total] : [1, 1];
  return `<div>${escapeHtml(format(state, "{label}"))}` +
    `<progress value="${value}" max="${max}" style="width:240px;vertical-align:middle"></progress> ` +
    `<code>${escapeHtml(format(state, "{numbers}{note}"))}</code></div>`;
}

function format({ label, done, total, note, elapsed }: ProgressState, pattern: string): string {
  const rate = elapsed > 0 ? done / elapsed * 1000 : 0; // A second.
  const isRunning = done > 0 && done < total;
  const numbers = [
    `${round(done, 6, Infinity)}/{total} {percentage} %`,
    ...(rate > 0 && Number.isFinite(rate) ? ["{rate}"] : []),
    "{duration_formatted}" + (isRunning ? ", {eta_formatted} left" : ""),
  ].join(" | ");
  const options = {
    format: pattern.replace("{numbers}", numbers),
    barsize: BAR_SIZE,
    barCompleteString: "\u2588".repeat(BAR_SIZE),
    barIncompleteString: "\u2591".repeat(BAR_SIZE),
    barGlue: "",
    autopaddingChar: "",
  };
  return formatter(options, {
    progress: total > 0 ? done / total : 1,
    eta: rate > 0 ? Math.ceil((total - done) / rate) : 0,
    startTime: 0,
    stopTime: Math.max(1, elapsed), // At 0 it would take the clock's.
    total,
    maxWidth: 0,
  }, {
    label: label && `${label} `,
    note: note && ` | ${note}`,
    rate: rate >= 1 ? `${short(rate)}/s` : `${short(1 / rate)} s each`,
  });
}

function short(value: number): string {
  return String(value >= 100 ? Math.round(value) : round(value, 3, Infinity));
}
