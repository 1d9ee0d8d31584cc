/**
 * The parts of `Deno` that test files and their adapters use, for where there is no Deno. It is put
 * in the scope of the test's modules alone: the library looks for `globalThis.Deno`, and must find none.
 *
 * @module
 */
import { inspect } from "./node_util.ts";

/** How one test, or one step of it, went. */
export interface Outcome {
  /** Names from the outermost suite to the test. */
  readonly path: readonly string[];
  /** How it went. */
  readonly status: "passed" | "failed" | "ignored";
  /** How long it took. */
  readonly milliseconds: number;
  /** What it threw, if it failed. */
  readonly error?: string;
}

/** What the tests of a file are, as `Deno.test` and `t.step` get them. */
interface Definition {
  readonly name: string;
  readonly ignore?: boolean;
  readonly fn: (t: TestContext) => void | Promise<void>;
}

/** What a test gets to run its steps. */
interface TestContext {
  /** Runs a step; gives whether it passed. */
  step(definition: Definition): Promise<boolean>;
}

/** A test that takes longer than this hangs: the slowest takes a tenth, nothing compiled before. */
const TEST_MILLISECONDS = 120_000;

/** Stands in for `Deno` where tests run elsewhere: collects tests, and runs them when told to. */
export class TestDeno {
  readonly #fixtures: ReadonlyMap<string, Uint8Array<ArrayBuffer>>;
  #tests: Definition[] = [];

  /**
   * One for each realm.
   *
   * @param fixtures What the files in `tests/fixtures/` hold, by their names.
   */
  constructor(fixtures: ReadonlyMap<string, Uint8Array<ArrayBuffer>>) {
    this.#fixtures = fixtures;
  }

  /** `Deno.env`: has no variables, but for the one that makes files run the core of their tests. */
  readonly env = {
    get: (name: string): string | undefined => name === "DENOFORMERS_TESTS" ? "core" : undefined,
  };

  /** `Deno.test`: keeps a test for {@linkcode run}. */
  readonly test = (definition: Definition): void => {
    this.#tests.push(definition);
  };

  /** `Deno.inspect`: calls the object's own method for it, and shows the rest in its own way. */
  readonly inspect = (value: unknown): string => {
    const method = (value as Record<symbol, unknown>)?.[Symbol.for("nodejs.util.inspect.custom")];
    return typeof method === "function" ? method.call(value, inspect, {}) : inspect(value);
  };

  /** `Deno.readFileSync`, of fixtures. */
  readonly readFileSync = (url: URL): Uint8Array<ArrayBuffer> => {
    const content = this.#fixtures.get(url.pathname.split("/").at(-1)!);
    if (!content) throw new Error(`Cannot read ${url}: there is no such fixture`);
    return content.slice();
  };

  /** `Deno.readFile`, of fixtures. */
  readonly readFile = (url: URL): Promise<Uint8Array<ArrayBuffer>> =>
    Promise.resolve(this.readFileSync(url));

  /** `Deno.readTextFileSync`, of fixtures. */
  readonly readTextFileSync = (url: URL): string =>
    new TextDecoder().decode(this.readFileSync(url));

  /**
   * Runs what has been collected since the last call, in order.
   *
   * @returns How all went that has no steps of its own, and whatever failed outside of its steps.
   */
  async run(): Promise<Outcome[]> {
    const tests = this.#tests;
    this.#tests = [];
    const outcomes: Outcome[] = [];
    for (const test of tests) await runStep(test, [], outcomes);
    return outcomes;
  }
}

async function runStep(
  { name, ignore = false, fn }: Definition,
  outer: readonly string[],
  outcomes: Outcome[],
): Promise<boolean> {
  const path = [...outer, name];
  if (ignore) {
    outcomes.push({ path, status: "ignored", milliseconds: 0 });
    return true;
  }
  let steps = 0;
  let passed = true;
  const context: TestContext = {
    step: async (definition) => {
      steps++;
      const stepPassed = await runStep(definition, path, outcomes);
      passed &&= stepPassed;
      return stepPassed;
    },
  };
  const start = performance.now();
  let error: string | undefined;
  try {
    await unlessLate(fn(context), () => steps === 0);
  } catch (thrown) {
    error = inspect(thrown);
  }
  const milliseconds = performance.now() - start;
  if (error !== undefined) outcomes.push({ path, status: "failed", milliseconds, error });
  else if (steps === 0) outcomes.push({ path, status: "passed", milliseconds });
  return passed && error === undefined;
}

/** Waits for a test, but if it has no steps not for longer than {@linkcode TEST_MILLISECONDS}. */
async function unlessLate(test: void | Promise<void>, isTest: () => boolean): Promise<void> {
  let timer: ReturnType<typeof setTimeout>;
  const late = new Promise<void>((_, reject) => {
    timer = setTimeout(() => {
      if (isTest()) reject(new Error(`The test has not ended within ${TEST_MILLISECONDS} ms`));
    }, TEST_MILLISECONDS);
  });
  try {
    await Promise.race([test, late]);
  } finally {
    clearTimeout(timer!);
  }
}
