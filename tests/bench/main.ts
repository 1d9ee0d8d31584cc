// deno-lint-ignore-file no-console -- a program of the command line
/**
 * Times attention on this machine's WebGPU adapter, beside the adapter's ceilings and the peers.
 *
 *     deno task bench [--help]
 *     deno task bench:peers [--help]
 *
 * @module
 */
import { GpuUnavailableError, requestDevice } from "@denoformers/attention";
import { runWithArguments } from "../../notebooks/command_line.ts";
import { dirname } from "node:path";
import manifest from "../../deno.json" with { type: "json" };
import { allCases } from "./cases.ts";
import { chooseCases, type ChosenCase, nameOf } from "./case_choice.ts";
import { measureCeilings } from "./ceilings.ts";
import { chartPage } from "./chart.ts";
import { type Bench, measureCase } from "./measure.ts";
import { MemoryWatch } from "./memory_watch.ts";
import { verdicts } from "./must.ts";
import {
  type BenchOptions,
  outputPath,
  parseOptions,
  SCRATCH_FOLDER,
  slugOf,
  USAGE,
} from "./options.ts";
import { OURS } from "./ours.ts";
import { loadPeers, PEER_VERSIONS } from "./peers/load.ts";
import { Progress } from "./progress.ts";
import { formatCeilings, formatHeader, formatRow, formatRun, formatVerdicts } from "./report.ts";
import type { Outcome, Results, Row } from "./results.ts";

async function run(options: BenchOptions): Promise<number> {
  if (options.list) {
    const cases = allCases().map((found) => ({ name: nameOf(found), ...found }));
    console.log(JSON.stringify(cases, null, 1));
    return 0;
  }
  try {
    return await runBench(options);
  } catch (error) {
    if (!(error instanceof GpuUnavailableError)) throw error;
    console.error(error.message);
    return 1;
  }
}

/** Measures all that is asked for; 1 if something of ours was wrong or failed. */
async function runBench(options: BenchOptions): Promise<number> {
  using watch = new MemoryWatch();
  watch.owner = OURS;
  using device = await requestDevice();
  const { adapter: name, vendor, isFallback: cpu } = device.info;
  const cases = chooseCases({ ...options, cpu });
  if (cases.length === 0) {
    console.error(`No case has "${options.only}" in its name; --list prints all of a GPU's`);
    return 2;
  }
  const run = {
    date: new Date().toISOString(),
    adapter: { name, vendor, cpu },
    versions: {
      [manifest.name]: manifest.version,
      deno: Deno.version.deno,
      v8: Deno.version.v8,
      ...(options.peers && PEER_VERSIONS),
    },
  };
  using progress = new Progress(1 + cases.length);
  watch.owner = "ceilings";
  const ceilings = await measureCeilings((what) => progress.show(what));
  const peers = options.peers ? await loadPeers(watch) : [];
  const bench = { device, peers, watch, quick: options.quick };
  progress.finish(() => {
    console.log(`${formatRun({ ...run, ceilings })}\n\n${formatCeilings(ceilings)}\n`);
    console.log(formatHeader());
  });
  const rows: Row[] = [];
  for (const what of cases) {
    progress.show(what.name);
    const row = await measureOrFail(bench, what);
    rows.push(row);
    progress.finish(() => console.log(formatRow(row, ceilings)));
    await write(options, { ...run, ceilings, rows });
  }
  progress[Symbol.dispose]();
  await report(options, { ...run, ceilings, rows });
  const bad: readonly Outcome["status"][] = ["wrong", "failed"];
  const isBad = ({ contender, status }: Outcome) => contender === OURS && bad.includes(status);
  return rows.some(({ outcomes }) => outcomes.some(isBad)) ? 1 : 0;
}

/** What this adapter cannot do at all is a result too. */
async function measureOrFail(bench: Bench, what: ChosenCase): Promise<Row> {
  try {
    return await measureCase(bench, what);
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    const reason = error.message.split("\n", 1)[0]!;
    // A size that is refused by its name is no failure.
    const status = error instanceof RangeError ? "unsupported" : "failed";
    return { case: what, flops: 0, inputBytes: 0, outcomes: [{ contender: OURS, status, reason }] };
  }
}

/** Writes after each case, so that a run that is cut off leaves what it had. */
async function write(options: BenchOptions, results: Results): Promise<string> {
  const path = outputPath(options, results.adapter.name);
  await Deno.mkdir(dirname(path), { recursive: true });
  const wanted = verdicts(results);
  await Deno.writeTextFile(path, `${JSON.stringify({ ...results, wanted }, null, 2)}\n`);
  return path;
}

/** The wanted figures, and where everything is. */
async function report(options: BenchOptions, results: Results): Promise<void> {
  console.log(`\nWanted\n${formatVerdicts(verdicts(results))}\n`);
  console.log(`results  ${await write(options, results)}`);
  const path = `${SCRATCH_FOLDER}/${slugOf(results.adapter.name)}.html`;
  try {
    await Deno.mkdir(SCRATCH_FOLDER, { recursive: true });
    await Deno.writeTextFile(path, await chartPage(results));
    console.log(`chart    ${path}`);
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    console.log(`chart    none: ${error.message.split("\n", 1)[0]}`);
  }
}

const PROGRAM = { usage: USAGE, parse: parseOptions, run };

if (import.meta.main) Deno.exit(await runWithArguments(PROGRAM, Deno.args));
