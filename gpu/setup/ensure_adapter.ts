// deno-lint-ignore-file no-console -- a program of the command line
/**
 * Makes sure that this machine has a usable WebGPU adapter. Where it has one, nothing happens. Where it
 * has none, and apt can be run as root, Mesa's software driver is installed. Where that cannot be done,
 * what was tried and what to install is printed, and the exit code is 1.
 *
 *     deno run -A gpu/setup/ensure_adapter.ts [--verbose]
 */
import { adapterRemedy } from "../remedy.ts";
import type { AdapterReport } from "./check_adapter.ts";
import { runCommand } from "./command.ts";
import { explain, install, SetupError } from "./install.ts";
import { planMesa } from "./mesa.ts";

/** A check takes a second or two; a driver that hangs must not hang the caller. */
const CHECK_SECONDS = 120;

const verbose = Deno.args.includes("--verbose");

async function ensureAdapter(): Promise<void> {
  const before = await checkAdapter();
  if (before.ok) {
    if (verbose) console.error(`WebGPU adapter: ${before.adapter}`);
    return;
  }
  if (!before.unavailable) {
    // A fault of the library's own, which no driver mends.
    console.error(`Cannot test the WebGPU adapter: ${before.reason}`);
    Deno.exit(1);
  }
  console.error(`${before.reason}.`);
  if (Deno.build.os !== "linux") {
    throw new SetupError("Nothing was installed: this system brings its own drivers.");
  }
  await install(planMesa, verbose);
  const after = await checkAdapter();
  if (!after.ok) {
    throw new SetupError(`Still no usable adapter after the installation: ${after.reason}.`);
  }
  console.error(`Installed. WebGPU adapter: ${after.adapter}`);
}

/** Runs the check in a process of its own. */
async function checkAdapter(): Promise<AdapterReport> {
  const program = new URL("./check_adapter.ts", import.meta.url).href;
  const result = await runCommand([Deno.execPath(), "run", "-A", "--quiet", program], {
    timeout: CHECK_SECONDS,
  });
  try {
    return JSON.parse(result.stdout.trim().split("\n").at(-1) ?? "");
  } catch {
    // A driver can end the process or hang it; with exit code 1 Deno itself gave up.
    const reason = `The process that tests the adapter ${result.ending}`;
    return {
      ok: false,
      unavailable: result.ending !== "ended with exit code 1",
      reason: explain(reason, result),
    };
  }
}

if (import.meta.main) {
  try {
    await ensureAdapter();
  } catch (error) {
    if (!(error instanceof SetupError)) throw error;
    console.error(`${error.message}\n\n${adapterRemedy(Deno.build.os)}`);
    Deno.exit(1);
  }
}
