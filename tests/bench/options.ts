/** The benchmark's command line. */
import { parseFlags, UsageError } from "../../notebooks/command_line.ts";

/** What the command line asks for. */
export interface BenchOptions {
  /** Whether to run a few cases of each set only, with fewer calls. */
  readonly quick: boolean;
  /** Whether the peers run as well. */
  readonly peers: boolean;
  /** Only cases whose name contains this; empty for all. */
  readonly only: string;
  /** Where to write the results; undefined for the default place. */
  readonly out: string | undefined;
  /** Whether to print the cases as JSON and do nothing else. */
  readonly list: boolean;
  /** Whether to print the usage and do nothing else. */
  readonly help: boolean;
}

/** Where complete runs with the peers are written, to be committed. */
export const RESULTS_FOLDER = "tests/bench/results";

/** Where all others are, and every chart. */
export const SCRATCH_FOLDER = ".cache/bench";

/** The text of `--help`. */
export const USAGE = `\
Usage: deno task bench [options]        this package and the adapter's ceilings
       deno task bench:peers [options]  the same beside tfjs, jax-js and onnxruntime-web, from npm

Checks results against float64, then times them: on the GPU by timestamps, and by wall clock with
results read back. On an adapter that computes on the CPU, cases are smaller.

Options:
  --quick          A few cases of each set, fewer calls
  --peers          Run the peers as well
  --only <text>    Only cases whose name contains this, as in "vision" or "f16 causal, forward"
  --out <file>     Where to write the results as JSON (default: ${RESULTS_FOLDER}/<adapter>.json for
                   complete runs with the peers, ${SCRATCH_FOLDER}/<adapter>.json for others)
  --list           Print the cases as JSON, at the sizes of GPUs, for attention_pytorch.py
  --help           Print this text
`;

/**
 * Reads the command line.
 *
 * @param args The arguments.
 * @returns What they say, with defaults for what they do not say.
 * @throws {UsageError} If they say nothing that can be done.
 */
export function parseOptions(args: readonly string[]): BenchOptions {
  const flag = { type: "boolean", default: false } as const;
  const values = parseFlags(args, {
    quick: flag,
    peers: flag,
    only: { type: "string", default: "" },
    out: { type: "string" },
    list: flag,
    help: { ...flag, short: "h" },
  });
  if (values.out === "") throw new UsageError('--out is "", expected the path of a file');
  return { ...values, out: values.out };
}

/** A name for files: `NVIDIA H100 80GB HBM3` becomes `nvidia-h100-80gb-hbm3`. */
export function slugOf(adapter: string): string {
  return adapter.toLowerCase().replaceAll(/[^a-z0-9]+/g, "-").replaceAll(/^-|-$/g, "");
}

/** Where a run's results go. */
export function outputPath(options: BenchOptions, adapter: string): string {
  const isComplete = options.peers && !options.quick && options.only === "";
  return options.out ??
    `${isComplete ? RESULTS_FOLDER : SCRATCH_FOLDER}/${slugOf(adapter)}.json`;
}
