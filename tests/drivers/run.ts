// deno-lint-ignore-file no-console -- a program of the command line
/**
 * Runs all tests, or a command, once on each software driver, and says at the end how each went. The exit code
 * is 1 where any failed. A computer with only one kind of GPU can so find faults that another would show.
 *
 *     deno run -A tests/drivers/run.ts [--drivers lavapipe,swiftshader] [-- COMMAND [ARGUMENT]...]
 */
import { parseArguments } from "./arguments.ts";
import { findLavapipe } from "./lavapipe.ts";
import { fetchSwiftShader } from "./swiftshader.ts";

/** For each driver, how to get the path of the file that describes it to the Vulkan loader. */
const DRIVERS: Record<string, () => string | Promise<string>> = {
  lavapipe: () => findLavapipe(),
  swiftshader: fetchSwiftShader,
};

/** All tests; their samples are the same on every driver. */
const ALL_TESTS = ["deno", "run", "-A", "tests/run.ts", "all", "--no-samples"];

interface Outcome {
  driver: string;
  seconds: number;
  code: number;
}

async function runOn(driver: string, [program, ...args]: string[]): Promise<Outcome> {
  const icd = await DRIVERS[driver]!();
  console.log(`\n=== ${driver} (${icd}) ===`);
  const start = performance.now();
  const command = new Deno.Command(program === "deno" ? Deno.execPath() : program!, {
    args,
    // The second is the older name, which loaders before 1.3.207 know.
    env: { VK_DRIVER_FILES: icd, VK_ICD_FILENAMES: icd },
  });
  const { code } = await command.spawn().status;
  return { driver, seconds: (performance.now() - start) / 1000, code };
}

function printTable(outcomes: Outcome[]): void {
  console.log(`\n${"driver".padEnd(12)} ${"seconds".padStart(8)}  result`);
  for (const { driver, seconds, code } of outcomes) {
    const result = code === 0 ? "ok" : `failed (exit code ${code})`;
    console.log(`${driver.padEnd(12)} ${seconds.toFixed(1).padStart(8)}  ${result}`);
  }
}

if (import.meta.main) {
  const { drivers, command } = parseArguments(Deno.args, Object.keys(DRIVERS), ALL_TESTS);
  const outcomes: Outcome[] = [];
  for (const driver of drivers) outcomes.push(await runOn(driver, command));
  printTable(outcomes);
  Deno.exit(outcomes.every(({ code }) => code === 0) ? 0 : 1);
}
