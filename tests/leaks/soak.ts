// deno-lint-ignore-file no-console -- a program of the command line
/**
 * Uses the library for as long as wanted, and looks whether anything is lost.
 *
 *     deno task soak [--help]
 *
 * @module
 */
import { requestDevice } from "@denoformers/attention";
import { runWithArguments } from "../../notebooks/command_line.ts";
import { assertEquals } from "@std/assert";
import fc from "fast-check";
import { collectUntil } from "./_garbage.ts";
import { watchBuffers } from "./_live_buffers.ts";
import { ROUNDS, rounds, type Soak } from "./_rounds.ts";
import { parseOptions, type SoakOptions, USAGE } from "./soak_options.ts";
import {
  formatSample,
  formatSummary,
  type Sample,
  summarize,
  type Summary,
} from "./soak_summary.ts";

/** How often to print a line. */
const SAMPLE_MS = 5000;

async function run(options: SoakOptions): Promise<number> {
  const summary = await soakFor(options);
  console.log(formatSummary(summary));
  if (options.json) {
    await Deno.writeTextFile(options.json, `${JSON.stringify(summary, null, 2)}\n`);
  }
  return summary.problems.length === 0 ? 0 : 1;
}

/** Soaks until the time is over or something is wrong. */
async function soakFor({ minutes, seed }: SoakOptions): Promise<Summary> {
  using watch = watchBuffers();
  using device = await requestDevice({ tune: false });
  const soak: Soak = { device, watch, calls: 0, faults: 0, devices: 0 };
  const start = performance.now();
  const sample = (): Sample => {
    const { calls, faults, devices } = soak;
    const { allocatedBytes, reservedBytes } = device.memory();
    const minutes = (performance.now() - start) / 60_000;
    const { rss } = Deno.memoryUsage();
    return { minutes, calls, faults, devices, allocatedBytes, reservedBytes, rss };
  };
  const samples = [sample()];
  const problems: string[] = [];
  let due = start + SAMPLE_MS;
  for (let number = 0; performance.now() - start < minutes * 60_000; number++) {
    const problem = await runRound(soak, seed, number);
    if (problem) {
      problems.push(problem);
      break;
    }
    if (performance.now() < due) continue;
    samples.push(sample());
    console.log(formatSample(samples.at(-1)!));
    due = performance.now() + SAMPLE_MS;
  }
  samples.push(sample());
  return summarize({ adapter: device.info.adapter, seed, problems }, samples);
}

/** Does one round and looks at what it left; returns what is wrong. */
async function runRound(soak: Soak, seed: number, number: number): Promise<string | undefined> {
  const { device, watch } = soak;
  const [round] = fc.sample(rounds, { seed: seed + number, numRuns: 1 });
  try {
    await ROUNDS[round!.name]!.run(soak, round!.seed);
    await device.sync();
    // Rounds that compare with the reference leave results to the garbage.
    await collectUntil(() => device.memory().tensors === 0);
    const { allocatedBytes, buffers, tensors, reservedBytes } = device.memory();
    assertEquals([allocatedBytes, buffers, tensors], [0, 0, 0], "what is alive between rounds");
    assertEquals(reservedBytes, watch.of(device).bytes, "reservedBytes, and what exists");
    return undefined;
  } catch (error) {
    const text = error instanceof Error ? error.stack ?? error.message : `${error}`;
    return `round ${number} of --seed ${seed}, ${round!.name} with seed ${round!.seed}: ${text}`;
  }
}

const PROGRAM = { usage: USAGE, parse: parseOptions, run };

if (import.meta.main) Deno.exit(await runWithArguments(PROGRAM, Deno.args));
