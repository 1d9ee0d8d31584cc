/**
 * The part of JSR's `@std/testing/bdd` that the tests use, under the same names and signatures,
 * over `Deno.test`: a top-level `describe` is one test, and what it holds are its steps.
 *
 * It is not built over `node:test`, because Deno 2.9.6's swallows an error thrown in `afterEach`
 * (the test passes and the exit code is 0), and afterEach is where a test that leaked a buffer or
 * raised a GPU error gets found out.
 *
 * @module
 */

type Hook = () => void | Promise<void>;
type TestFunction = (t: Deno.TestContext) => void | Promise<void>;
type HookName = "beforeAll" | "afterAll" | "beforeEach" | "afterEach";

/** The options of {@linkcode describe}. */
export interface DescribeDefinition {
  /** What is described. */
  name: string;
  /** Registers the suite's tests; must not be asynchronous. */
  fn: () => void | undefined;
  /** Whether to leave the suite out, with all it holds. */
  ignore?: boolean;
}

/** The options of {@linkcode it}. */
export interface ItDefinition {
  /** What the test shows. */
  name: string;
  /** The test. */
  fn: TestFunction;
  /** Whether to leave the test out. */
  ignore?: boolean;
}

/** The arguments of {@linkcode describe}. */
export type DescribeArgs =
  | [name: string, fn: DescribeDefinition["fn"]]
  | [name: string, options: Omit<DescribeDefinition, "fn" | "name">, fn: DescribeDefinition["fn"]]
  | [options: DescribeDefinition]
  | [options: Omit<DescribeDefinition, "fn">, fn: DescribeDefinition["fn"]];

/** The arguments of {@linkcode it}. */
export type ItArgs =
  | [name: string, fn: TestFunction]
  | [name: string, options: Omit<ItDefinition, "fn" | "name">, fn: TestFunction]
  | [options: ItDefinition]
  | [options: Omit<ItDefinition, "fn">, fn: TestFunction];

interface Suite extends Record<HookName, Hook[]> {
  readonly parent: Suite | undefined;
  readonly steps: Step[];
}

interface Step {
  readonly name: string;
  readonly ignore: boolean;
  readonly fn: TestFunction;
}

/** The suite whose `describe` is being run; undefined at the top level. */
let current: Suite | undefined;
/** Whether tests are running, when it is too late to register another. */
let running = false;

/**
 * Registers a suite of tests.
 *
 * @param args A name and a function that registers the suite's tests, or the same as options.
 */
export function describe(...args: DescribeArgs): void {
  const { name, ignore = false, fn } = definition<DescribeDefinition>(args);
  const suite: Suite = {
    parent: current,
    steps: [],
    beforeAll: [],
    afterAll: [],
    beforeEach: [],
    afterEach: [],
  };
  if (!ignore) registerInside(suite, name, fn);
  register({ name, ignore, fn: (t) => runSuite(suite, t) });
}

/** Registers a suite that is left out. */
describe.ignore = function describeIgnore(...args: DescribeArgs): void {
  describe({ ...definition<DescribeDefinition>(args), ignore: true });
};

/** Registers a suite that is left out; the same as `describe.ignore`. */
describe.skip = function describeSkip(...args: DescribeArgs): void {
  describe.ignore(...args);
};

/**
 * Registers a test.
 *
 * @param args A name and the test, or the same as options.
 */
export function it(...args: ItArgs): void {
  const { name, ignore = false, fn } = definition<ItDefinition>(args);
  const suite = current;
  register({ name, ignore, fn: suite === undefined ? fn : (t) => runTest(suite, fn, t) });
}

/** Registers a test that is left out. */
it.ignore = function itIgnore(...args: ItArgs): void {
  it({ ...definition<ItDefinition>(args), ignore: true });
};

/** Registers a test that is left out; the same as `it.ignore`. */
it.skip = function itSkip(...args: ItArgs): void {
  it.ignore(...args);
};

/**
 * Runs a function once before the tests of the suite.
 *
 * @param fn The function.
 */
export function beforeAll(fn: Hook): void {
  addHook("beforeAll", fn);
}

/**
 * Runs a function once after the tests of the suite, even if some failed.
 *
 * @param fn The function.
 */
export function afterAll(fn: Hook): void {
  addHook("afterAll", fn);
}

/**
 * Runs a function before each test of the suite and of the suites in it.
 *
 * @param fn The function.
 */
export function beforeEach(fn: Hook): void {
  addHook("beforeEach", fn);
}

/**
 * Runs a function after each test of the suite and of the suites in it, even if the test failed.
 *
 * @param fn The function.
 */
export function afterEach(fn: Hook): void {
  addHook("afterEach", fn);
}

function definition<D extends DescribeDefinition | ItDefinition>(
  args: DescribeArgs | ItArgs,
): D {
  const [first, ...rest] = args;
  const merged: Record<string, unknown> = typeof first === "string" ? { name: first } : {};
  for (const part of [first, ...rest]) {
    if (typeof part === "function") merged["fn"] = part;
    else if (typeof part === "object") Object.assign(merged, part);
  }
  return merged as unknown as D;
}

function registerInside(suite: Suite, name: string, fn: DescribeDefinition["fn"]): void {
  const outer = current;
  current = suite;
  try {
    const result: unknown = fn();
    if (result instanceof Promise) {
      throw new TypeError(
        `Cannot register suite "${name}": its function returned a promise; register tests synchronously`,
      );
    }
  } finally {
    current = outer;
  }
}

function register(step: Step): void {
  if (running) {
    throw new Error(
      `Cannot register "${step.name}": tests are already running; register it at the top level or in describe`,
    );
  }
  if (current !== undefined) {
    current.steps.push(step);
    return;
  }
  Deno.test({
    ...step,
    fn: async (t) => {
      running = true;
      try {
        await step.fn(t);
      } finally {
        running = false;
      }
    },
  });
}

function addHook(name: HookName, fn: Hook): void {
  if (current === undefined) {
    throw new Error(`Cannot add ${name}: it is outside describe; move it into a suite`);
  }
  current[name].push(fn);
}

async function runSuite(suite: Suite, t: Deno.TestContext): Promise<void> {
  for (const hook of suite.beforeAll) await hook();
  try {
    // A step that fails marks the test as failed by itself, so the others still run.
    for (const step of suite.steps) await t.step({ ...step });
  } finally {
    await runEvery(suite.afterAll);
  }
}

async function runTest(suite: Suite, fn: TestFunction, t: Deno.TestContext): Promise<void> {
  const suites: Suite[] = [];
  for (let s: Suite | undefined = suite; s !== undefined; s = s.parent) suites.unshift(s);
  await runWithin(suites, fn, t);
}

/** Wraps a test in the hooks of its suites, the outermost first. */
async function runWithin(
  suites: readonly Suite[],
  fn: TestFunction,
  t: Deno.TestContext,
): Promise<void> {
  const [suite, ...inner] = suites;
  if (suite === undefined) return await fn(t);
  for (const hook of suite.beforeEach) await hook();
  try {
    await runWithin(inner, fn, t);
  } finally {
    await runEvery(suite.afterEach);
  }
}

/** Runs every hook even if one throws, then throws the first error. */
async function runEvery(hooks: readonly Hook[]): Promise<void> {
  const errors: unknown[] = [];
  for (const hook of hooks) {
    try {
      await hook();
    } catch (error) {
      errors.push(error);
    }
  }
  if (errors.length > 0) throw errors[0];
}
