/** A page for people: what ran in the browser, and how it went. */
import type { Outcome } from "./harness.ts";

/** What came of a file, and when. */
export interface FileResult {
  /** Its path, from `tests/`. */
  readonly file: string;
  /** How its tests went. */
  readonly outcomes: readonly Outcome[];
  /** How long it took, its page and devices included. */
  readonly seconds: number;
}

/**
 * The page's HTML.
 *
 * @param version The browser's.
 * @param results What came of each file.
 */
export function resultsPage(version: string, results: readonly FileResult[]): string {
  const outcomes = results.flatMap((result) => result.outcomes);
  const seconds = results.reduce((sum, result) => sum + result.seconds, 0);
  const rows = results.map((result) =>
    `<tr><td>${result.file}<td>${count(result.outcomes, "passed")}` +
    `<td>${count(result.outcomes, "failed")}<td>${result.seconds.toFixed(1)} s`
  );
  return `<!doctype html><meta charset="utf-8"><title>Tests in Chromium ${version}</title>
<style>body { font: 14px system-ui } td, th { padding: 1px 12px; text-align: right }
td:first-child, th:first-child { text-align: left } main { columns: 2 }</style>
<h1>Tests in Chromium ${version}</h1>
<p>${count(outcomes, "passed")} passed, ${
    count(outcomes, "failed")
  } failed in ${results.length} files and ${seconds.toFixed(0)} s</p>
<table><tr><th>file<th>passed<th>failed<th>time${rows.join("")}</table>`;
}

function count(outcomes: readonly Outcome[], status: Outcome["status"]): number {
  return outcomes.filter((outcome) => outcome.status === status).length;
}
