// deno-lint-ignore-file no-console -- a program of the command line
/**
 * Runs the tests in a few processes at once, as CPU drivers compile each shader on one core, and shows what failed.
 *
 *     deno run -A tests/run.ts core|all [--no-samples] [FLAGS OF deno test]
 *     deno run -A tests/run.ts core|all FILE... [FLAGS OF deno test]
 *
 * The core leaves out what `_extent.ts` says. Files and folders that are named run alone, whole and in sight.
 * `DENO_JOBS` is the number of processes.
 */
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("../", import.meta.url));

/** What has examples in its documentation. */
const SAMPLES = ["mod.ts", "gpu", "attention", "README.md"];

/** So many files share a process: fewer take more time to start, more leave a core idle in the end. */
const FILES_PER_JOB = 4;

/** Files and folders that measure time, or the memory of processes: they run when all others have ended. */
const ALONE = ["tests/gpu/tuning/", "tests/leaks/many_calls_test.ts"];

/** More processes run short of memory, or of the GPU, before they are faster. */
const MOST_PROCESSES = 4;

/** What a process runs. */
interface Job {
  readonly name: string;
  /** Arguments of `deno`. */
  readonly args: readonly string[];
}

interface Outcome {
  readonly code: number;
  readonly output: string;
}

/** What the arguments of this program ask for. */
export interface Plan {
  /** Whether only the core of the tests runs. */
  readonly core: boolean;
  /** Whether the examples in the documentation run too. */
  readonly samples: boolean;
  /** Files and folders to run alone. */
  readonly paths: readonly string[];
  /** For `deno test`. */
  readonly flags: readonly string[];
}

/**
 * Reads the arguments of this program. A path is what lies there, so that values of flags are none.
 *
 * @param args The arguments.
 * @param exists Whether there is such a file or folder.
 */
export function parsePlan([extent, ...rest]: string[], exists = isThere): Plan {
  if (extent !== "core" && extent !== "all") {
    throw new TypeError(`Cannot run tests: expected core or all, got "${extent}"`);
  }
  const flags = rest.filter((arg) => arg !== "--no-samples");
  return {
    core: extent === "core",
    samples: flags.length === rest.length,
    paths: flags.filter((arg) => exists(arg)),
    flags: flags.filter((arg) => !exists(arg)),
  };
}

/** How many tests passed, and steps of tests, by the summary at the end of an output. */
export function passedIn(output: string): number {
  const [, tests = 0, steps = 0] = /\| (\d+) passed(?: \((\d+) steps?\))?/.exec(output) ?? [];
  return Number(tests) + Number(steps);
}

/** What may run at the same time, and what runs alone behind it. */
function jobsOf({ samples, flags }: Plan): { together: Job[]; alone: Job[] } {
  // Types are checked once, not by each process.
  const together = [{ name: "types", args: ["check", "--quiet"] }];
  if (samples) {
    together.push({ name: "samples", args: ["test", "-A", "--doc", ...flags, ...SAMPLES] });
  }
  const job = (name: string, paths: readonly string[]) => ({
    name,
    args: ["test", "-A", "--no-check", ...flags, ...paths],
  });
  const files = testFiles("tests").filter((file) => !ALONE.some((start) => file.startsWith(start)));
  for (let at = 0; at < files.length; at += FILES_PER_JOB) {
    const some = files.slice(at, at + FILES_PER_JOB);
    together.push(job(`${some[0]} to ${some.at(-1)}`, some));
  }
  return { together, alone: ALONE.map((path) => job(path, [path])) };
}

/** Paths of the test files in a folder and in those below, in order. */
function testFiles(folder: string): string[] {
  const entries = [...Deno.readDirSync(ROOT + folder)].sort((a, b) => a.name < b.name ? -1 : 1);
  return entries.flatMap(({ name, isDirectory }) => {
    const path = `${folder}/${name}`;
    if (isDirectory) return testFiles(path);
    return name.endsWith("_test.ts") ? [path] : [];
  });
}

async function run({ args }: Job, env: Record<string, string>): Promise<Outcome> {
  const command = new Deno.Command(Deno.execPath(), { args: [...args], cwd: ROOT, env });
  const { code, stdout, stderr } = await command.output();
  const decoder = new TextDecoder();
  return { code, output: decoder.decode(stdout) + decoder.decode(stderr) };
}

async function runAll(plan: Plan): Promise<number> {
  const start = performance.now();
  const env = { NO_COLOR: "1", ...plan.core ? { DENOFORMERS_TESTS: "core" } : {} };
  const { together, alone } = jobsOf(plan);
  let passed = 0;
  const failed: string[] = [];
  const work = async (jobs: Job[]) => {
    for (let job = jobs.shift(); job; job = jobs.shift()) {
      const begun = performance.now();
      const { code, output } = await run(job, env);
      passed += passedIn(output);
      if (code !== 0) {
        failed.push(job.name);
        console.log(`\n${output}`);
      }
      const seconds = ((performance.now() - begun) / 1000).toFixed(0).padStart(4);
      console.log(`${code === 0 ? "ok    " : "FAILED"} ${seconds} s  ${job.name}`);
    }
  };
  await Promise.all(Array.from({ length: processes() }, () => work(together)));
  await work(alone);
  const seconds = ((performance.now() - start) / 1000).toFixed(0);
  console.log(`\n${passed} passed in ${seconds} s, ${failed.length} groups of files failed`);
  for (const name of failed) console.log(`  ${name}`);
  return failed.length === 0 ? 0 : 1;
}

function processes(): number {
  const chosen = Number(Deno.env.get("DENO_JOBS"));
  return chosen >= 1 ? chosen : Math.min(navigator.hardwareConcurrency, MOST_PROCESSES);
}

async function runInSight({ paths, flags }: Plan): Promise<number> {
  const args = ["test", "-A", "--doc", ...flags, ...paths];
  return (await new Deno.Command(Deno.execPath(), { args }).spawn().status).code;
}

function isThere(path: string): boolean {
  try {
    Deno.statSync(path);
    return true;
  } catch {
    return false;
  }
}

if (import.meta.main) {
  const plan = parsePlan(Deno.args);
  Deno.exit(plan.paths.length > 0 ? await runInSight(plan) : await runAll(plan));
}
