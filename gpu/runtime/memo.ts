/** Results of pure functions that are asked for at every call of an operation. */

/**
 * Remembers a function's results by their arguments.
 *
 * @param fn A pure function of numbers, strings and booleans, with few different arguments in a program's life.
 */
export function memo<const A extends readonly (number | string | boolean)[], T>(
  fn: (...args: A) => T,
): (...args: A) => T {
  const results = new Map<string, T>();
  return (...args) => {
    const key = args.join();
    let result = results.get(key);
    if (result === undefined) results.set(key, result = fn(...args));
    return result;
  };
}
