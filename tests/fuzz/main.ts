// deno-lint-ignore-file no-console -- a program of the command line
/**
 * Calls the public surface with arguments drawn at random.
 *
 *     deno task fuzz [--help]
 *
 * @module
 */
import { type Device, GpuUnavailableError, requestDevice } from "@denoformers/attention";
import { runWithArguments } from "../../notebooks/command_line.ts";
import { FAMILIES } from "./families.ts";
import { type FuzzOptions, parseOptions, SEED_END, USAGE } from "./options.ts";
import { checkCase, type FamilyResult, runFamily, sharesOf } from "./_run.ts";

/** Cases for which one choice of kernels is kept. */
const BATCH = 500;

async function run(options: FuzzOptions): Promise<number> {
  try {
    using device = await requestDevice({ tune: false });
    return options.case === undefined
      ? await runAll(device, options)
      : await runOne(device, options);
  } catch (error) {
    if (!(error instanceof GpuUnavailableError)) throw error;
    console.error(error.message);
    return 1;
  }
}

async function runAll(device: Device, options: FuzzOptions): Promise<number> {
  const seed = options.seed ?? Math.floor(Math.random() * SEED_END);
  const families = FAMILIES.filter(({ name }) => name === (options.only ?? name));
  console.log(`seed ${seed}, ${options.cases} cases on ${device.info.adapter}\n`);
  console.log(
    `${"family".padEnd(22)}${"cases".padStart(8)}${"failures".padStart(10)}${
      "seconds".padStart(9)
    }`,
  );
  const deadline = performance.now() + 60_000 * options.minutes;
  const shares = sharesOf(families, options.cases);
  const results: FamilyResult[] = [];
  for (const [i, family] of families.entries()) {
    const plan = { cases: options.cases, seed, batch: BATCH, breadth: 1, deadline };
    const result = await runFamily(device, family, shares[i]!, plan);
    results.push(result);
    report(result);
  }
  const cases = results.reduce((sum, result) => sum + result.cases, 0);
  const failures = results.flatMap((result) => result.failures);
  const seconds = results.reduce((sum, result) => sum + result.seconds, 0);
  console.log(`\n${cases} cases, ${failures.length} failures, ${seconds.toFixed(0)} s`);
  if (options.json !== undefined) {
    const summary = { seed, adapter: device.info.adapter, cases, seconds, results };
    await Deno.writeTextFile(options.json, `${JSON.stringify(summary, null, 2)}\n`);
  }
  return failures.length > 0 ? 1 : 0;
}

function report({ family, cases, failures, seconds }: FamilyResult): void {
  console.log(
    family.padEnd(22) + `${cases}`.padStart(8) + `${failures.length}`.padStart(10) +
      seconds.toFixed(1).padStart(9),
  );
  for (const { shrunk, error, shrinks } of failures) {
    const quoted = shrunk.replaceAll("'", `'\\''`);
    console.log(
      `\n${error}\n  smallest case, ${shrinks} steps from the one drawn; to try it again:`,
    );
    console.log(`  deno task fuzz --only ${family} --case '${quoted}'\n`);
  }
}

async function runOne(device: Device, options: FuzzOptions): Promise<number> {
  const family = FAMILIES.find(({ name }) => name === options.only)!;
  let drawn: unknown;
  try {
    // Cases are printed as expressions, which hold NaN, -0 and undefined where JSON would not.
    drawn = new Function(`return (${options.case});`)();
  } catch (error) {
    console.error(`--case is no expression of JavaScript: ${error}`);
    return 2;
  }
  try {
    await checkCase(device, family, drawn);
  } catch (error) {
    console.error(error);
    return 1;
  }
  console.log("right");
  return 0;
}

const PROGRAM = { usage: USAGE, parse: parseOptions, run };

if (import.meta.main) Deno.exit(await runWithArguments(PROGRAM, Deno.args));
