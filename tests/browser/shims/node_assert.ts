/**
 * The parts of `node:assert` that the assertions of the tests use, for where there is no Node.
 *
 * @module
 */
import { inspect, isDeepStrictEqual } from "./node_util.ts";

/** What an assertion throws. */
export class AssertionError extends Error {
  override readonly name = "AssertionError";
  /** The value under test. */
  readonly actual: unknown;
  /** What it was compared with. */
  readonly expected: unknown;

  /** One per failure. */
  constructor(options: { message: string; actual?: unknown; expected?: unknown }) {
    super(options.message);
    this.actual = options.actual;
    this.expected = options.expected;
  }
}

/** What the module exports by default. */
const nodeAssert = {
  /** Throws an {@linkcode AssertionError} that shows both values if they are not deeply equal. */
  deepStrictEqual(actual: unknown, expected: unknown): void {
    if (isDeepStrictEqual(actual, expected)) return;
    const message = `Expected values to be deeply equal: got ${inspect(actual)}, ` +
      `expected ${inspect(expected)}`;
    throw new AssertionError({ message, actual, expected });
  },
};

export default nodeAssert;
