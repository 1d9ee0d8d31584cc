/**
 * The assertions of JSR's `@std/assert` that the tests use, under the same names and signatures,
 * over `node:assert`. The registry of the real package cannot be reached everywhere the tests run;
 * `deno task test:jsr` runs the same files against it.
 *
 * @module
 */

import nodeAssert, { AssertionError } from "node:assert";
import { inspect, isDeepStrictEqual } from "node:util";

export { AssertionError };

// deno-lint-ignore no-explicit-any
type AnyConstructor<T> = abstract new (...args: any[]) => T;
// deno-lint-ignore no-explicit-any
type ErrorConstructor<E extends Error> = abstract new (...args: any[]) => E;

/**
 * Asserts that an expression is truthy.
 *
 * @param expr The expression.
 * @param msg Text of the error.
 */
export function assert(expr: unknown, msg = ""): asserts expr {
  if (!expr) throw failure(msg || "Expected a truthy value", expr, true);
}

/**
 * Asserts that two values are deeply equal. NaN equals NaN, and 0 equals -0.
 *
 * @param actual The value under test.
 * @param expected The value it should equal.
 * @param msg Text to put before the difference.
 */
export function assertEquals<T>(actual: T, expected: T, msg?: string): void {
  if (equal(actual, expected)) return;
  try {
    // Called for the difference that it prints.
    nodeAssert.deepStrictEqual(actual, expected);
  } catch (error) {
    const text = error instanceof Error ? error.message : String(error);
    throw failure(prefixed(msg, text), actual, expected);
  }
}

/**
 * Asserts that two values are not deeply equal.
 *
 * @param actual The value under test.
 * @param expected The value it should differ from.
 * @param msg Text to put before the error's own.
 */
export function assertNotEquals<T>(actual: T, expected: T, msg?: string): void {
  if (!equal(actual, expected)) return;
  const text = `Expected values to differ: both are ${inspect(actual)}`;
  throw failure(prefixed(msg, text), actual, expected);
}

/**
 * Asserts that two values are the same by `Object.is`.
 *
 * @param actual The value under test.
 * @param expected The value it should be.
 * @param msg Text to put before the error's own.
 */
export function assertStrictEquals<T>(
  actual: unknown,
  expected: T,
  msg?: string,
): asserts actual is T {
  if (Object.is(actual, expected)) return;
  const text = `Expected values to be the same: got ${inspect(actual)}, expected ${
    inspect(expected)
  }`;
  throw failure(prefixed(msg, text), actual, expected);
}

/**
 * Asserts that a function throws.
 *
 * @param fn The function to call.
 * @param msg Text to put before the error's own.
 * @returns What was thrown.
 */
export function assertThrows(fn: () => unknown, msg?: string): unknown;
/**
 * Asserts that a function throws an error of a class, with a text.
 *
 * @param fn The function to call.
 * @param ErrorClass The class of the error.
 * @param msgIncludes What the error's message should contain.
 * @param msg Text to put before the error's own.
 * @returns The error that was thrown.
 */
export function assertThrows<E extends Error = Error>(
  fn: () => unknown,
  ErrorClass: ErrorConstructor<E>,
  msgIncludes?: string,
  msg?: string,
): E;
export function assertThrows(
  fn: () => unknown,
  classOrMsg?: ErrorConstructor<Error> | string,
  msgIncludes?: string,
  msg?: string,
): unknown {
  const note = typeof classOrMsg === "string" ? classOrMsg : msg;
  let thrown: unknown;
  try {
    fn();
  } catch (error) {
    thrown = error;
    if (typeof classOrMsg === "function") assertError(error, classOrMsg, msgIncludes, note);
    return thrown;
  }
  throw failure(prefixed(note, "Expected function to throw"), undefined, classOrMsg);
}

/**
 * Asserts that an asynchronous function rejects.
 *
 * @param fn The function to call.
 * @param msg Text to put before the error's own.
 * @returns What the promise rejected with.
 */
export function assertRejects(fn: () => PromiseLike<unknown>, msg?: string): Promise<unknown>;
/**
 * Asserts that an asynchronous function rejects with an error of a class, with a text.
 *
 * @param fn The function to call.
 * @param ErrorClass The class of the error.
 * @param msgIncludes What the error's message should contain.
 * @param msg Text to put before the error's own.
 * @returns The error that the promise rejected with.
 */
export function assertRejects<E extends Error = Error>(
  fn: () => PromiseLike<unknown>,
  ErrorClass: ErrorConstructor<E>,
  msgIncludes?: string,
  msg?: string,
): Promise<E>;
export async function assertRejects(
  fn: () => PromiseLike<unknown>,
  classOrMsg?: ErrorConstructor<Error> | string,
  msgIncludes?: string,
  msg?: string,
): Promise<unknown> {
  const note = typeof classOrMsg === "string" ? classOrMsg : msg;
  let promise: PromiseLike<unknown>;
  try {
    promise = fn();
  } catch (error) {
    const text = `Expected function to reject: it threw ${inspect(error)}`;
    throw failure(prefixed(note, text), error, classOrMsg);
  }
  try {
    await promise;
  } catch (error) {
    if (typeof classOrMsg === "function") assertError(error, classOrMsg, msgIncludes, note);
    return error;
  }
  throw failure(prefixed(note, "Expected function to reject"), undefined, classOrMsg);
}

/**
 * Asserts that two numbers are equal within a tolerance.
 *
 * @param actual The number under test.
 * @param expected The number it should be near.
 * @param tolerance Greatest allowed distance; a ten-millionth of `expected` when left out.
 * @param msg Text to put before the error's own.
 */
export function assertAlmostEquals(
  actual: number,
  expected: number,
  tolerance?: number,
  msg?: string,
): void {
  if (Object.is(actual, expected)) return;
  const allowed = tolerance ?? (Number.isFinite(expected) ? Math.abs(expected) * 1e-7 : 1e-7);
  const distance = Math.abs(expected - actual);
  if (distance <= allowed) return;
  const text = `Expected ${actual} to be near ${expected}: ` +
    `distance ${distance} is greater than ${allowed}`;
  throw failure(prefixed(msg, text), actual, expected);
}

/**
 * Asserts that a string contains another.
 *
 * @param actual The string under test.
 * @param expected What it should contain.
 * @param msg Text to put before the error's own.
 */
export function assertStringIncludes(actual: string, expected: string, msg?: string): void {
  if (actual.includes(expected)) return;
  const text = `Expected "${actual}" to contain "${expected}"`;
  throw failure(prefixed(msg, text), actual, expected);
}

/**
 * Asserts that a string matches a regular expression.
 *
 * @param actual The string under test.
 * @param expected The expression.
 * @param msg Text to put before the error's own.
 */
export function assertMatch(actual: string, expected: RegExp, msg?: string): void {
  if (expected.test(actual)) return;
  throw failure(prefixed(msg, `Expected "${actual}" to match ${expected}`), actual, expected);
}

/**
 * Asserts that a value is an instance of a class.
 *
 * @param actual The value under test.
 * @param expectedType The class.
 * @param msg Text to put before the error's own.
 */
export function assertInstanceOf<T>(
  actual: unknown,
  expectedType: AnyConstructor<T>,
  msg = "",
): asserts actual is T {
  if (actual instanceof expectedType) return;
  const text = `Expected an instance of "${expectedType.name}", got ${inspect(actual)}`;
  throw failure(prefixed(msg, text), actual, expectedType);
}

/**
 * Asserts that `actual > expected`.
 *
 * @param actual The value under test.
 * @param expected The bound.
 * @param msg Text to put before the error's own.
 */
export function assertGreater<T>(actual: T, expected: T, msg?: string): void {
  if (actual > expected) return;
  throw orderFailure(actual, ">", expected, msg);
}

/**
 * Asserts that `actual >= expected`.
 *
 * @param actual The value under test.
 * @param expected The bound.
 * @param msg Text to put before the error's own.
 */
export function assertGreaterOrEqual<T>(actual: T, expected: T, msg?: string): void {
  if (actual >= expected) return;
  throw orderFailure(actual, ">=", expected, msg);
}

/**
 * Asserts that `actual < expected`.
 *
 * @param actual The value under test.
 * @param expected The bound.
 * @param msg Text to put before the error's own.
 */
export function assertLess<T>(actual: T, expected: T, msg?: string): void {
  if (actual < expected) return;
  throw orderFailure(actual, "<", expected, msg);
}

/**
 * Asserts that `actual <= expected`.
 *
 * @param actual The value under test.
 * @param expected The bound.
 * @param msg Text to put before the error's own.
 */
export function assertLessOrEqual<T>(actual: T, expected: T, msg?: string): void {
  if (actual <= expected) return;
  throw orderFailure(actual, "<=", expected, msg);
}

/**
 * Asserts that a value is neither null nor undefined.
 *
 * @param actual The value under test.
 * @param msg Text to put before the error's own.
 */
export function assertExists<T>(actual: T, msg?: string): asserts actual is NonNullable<T> {
  if (actual !== undefined && actual !== null) return;
  const text = `Expected a value, got ${actual}`;
  throw failure(prefixed(msg, text), actual, undefined);
}

/**
 * Fails.
 *
 * @param msg The reason.
 */
export function fail(msg?: string): never {
  throw failure(prefixed(msg, "Failed assertion"), undefined, undefined);
}

function failure(message: string, actual: unknown, expected: unknown): AssertionError {
  return new AssertionError({ message, actual, expected });
}

function orderFailure(
  actual: unknown,
  sign: string,
  expected: unknown,
  msg: string | undefined,
): AssertionError {
  const text = `Expected ${inspect(actual)} ${sign} ${inspect(expected)}`;
  return failure(prefixed(msg, text), actual, expected);
}

function prefixed(msg: string | undefined, text: string): string {
  return msg ? `${msg}: ${text}` : text;
}

function assertError(
  error: unknown,
  ErrorClass: ErrorConstructor<Error>,
  msgIncludes: string | undefined,
  msg: string | undefined,
): void {
  if (!(error instanceof ErrorClass)) {
    const text = `Expected error to be an instance of "${ErrorClass.name}", got ${inspect(error)}`;
    throw failure(prefixed(msg, text), error, ErrorClass);
  }
  if (msgIncludes !== undefined && !error.message.includes(msgIncludes)) {
    const text = `Expected error message to contain "${msgIncludes}", got "${error.message}"`;
    throw failure(prefixed(msg, text), error.message, msgIncludes);
  }
}

/** Equality as `@std/assert` has it: `isDeepStrictEqual`, but with 0 equal to -0. */
function equal(actual: unknown, expected: unknown): boolean {
  return isDeepStrictEqual(actual, expected) ||
    isDeepStrictEqual(withPositiveZeros(actual), withPositiveZeros(expected));
}

/** A copy with -0 made 0 in numbers, arrays, float arrays and plain objects; the rest as it is. */
function withPositiveZeros(value: unknown, path: readonly unknown[] = []): unknown {
  if (value === 0) return 0;
  if (typeof value !== "object" || value === null || path.includes(value)) return value;
  if (
    value instanceof Float32Array || value instanceof Float64Array || value instanceof Float16Array
  ) {
    return value.map((element) => element === 0 ? 0 : element);
  }
  const inside = [...path, value];
  if (Array.isArray(value)) return value.map((element) => withPositiveZeros(element, inside));
  if (Object.getPrototypeOf(value) !== Object.prototype) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, element]) => [key, withPositiveZeros(element, inside)]),
  );
}
