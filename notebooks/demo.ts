// deno-lint-ignore-file no-console -- a program of the command line
/**
 * Self-attention on this machine's WebGPU adapter, compared with the formula in time and memory.
 *
 *     deno task demo [--help]
 *
 * @module
 */
import {
  type Device,
  DeviceLostError,
  GpuOutOfMemoryError,
  GpuUnavailableError,
  requestDevice,
} from "@denoformers/attention";
import { runWithArguments } from "./command_line.ts";
import { measureDemo } from "./demo/measure.ts";
import { type DemoOptions, parseOptions, USAGE } from "./demo/options.ts";
import { formatReport } from "./demo/report.ts";

/** What can go wrong without a fault in the program: the message alone says what to do. */
const EXPECTED_ERRORS = [GpuUnavailableError, GpuOutOfMemoryError, DeviceLostError, RangeError];

async function run(options: DemoOptions): Promise<number> {
  const status = new StatusLine();
  let device: Device | undefined;
  try {
    device = await requestDevice();
    const result = await measureDemo(device, options, (step) => status.show(step));
    status.clear();
    console.log(options.json ? JSON.stringify(result, null, 2) : formatReport(result).trimEnd());
    return 0;
  } catch (error) {
    status.clear();
    if (!EXPECTED_ERRORS.some((kind) => error instanceof kind)) throw error;
    console.error((error as Error).message);
    return 1;
  } finally {
    device?.dispose();
  }
}

/** What is being done, on standard error: one line that changes, or lines where it is no terminal. */
class StatusLine {
  readonly #isTerminal = Deno.stderr.isTerminal();

  /** Shows a step in place of the one before. */
  show(step: string): void {
    if (this.#isTerminal) this.#write(`\r\x1b[K${step.slice(0, this.#width() - 4)} ...`);
    else console.error(`${step} ...`);
  }

  /** Leaves an empty line where the last step was. */
  clear(): void {
    if (this.#isTerminal) this.#write("\r\x1b[K");
  }

  #write(text: string): void {
    Deno.stderr.writeSync(new TextEncoder().encode(text));
  }

  /** A longer text would wrap, and the next could not replace all of it. */
  #width(): number {
    try {
      return Deno.consoleSize().columns || 80; // Some terminals say 0.
    } catch {
      return 80;
    }
  }
}

const PROGRAM = { usage: USAGE, parse: parseOptions, run };

if (import.meta.main) Deno.exit(await runWithArguments(PROGRAM, Deno.args));
