/** Checks of arguments that many public functions share. Nothing here knows of a GPU. */

/** A value in a few words, for messages: never its contents, which may be long. */
export function told(value: unknown): string {
  if (typeof value === "string") return JSON.stringify(value.slice(0, 40));
  if (typeof value === "bigint") return `${value}n`;
  if (typeof value === "function") return "a function";
  if (typeof value !== "object" || value === null) return String(value);
  if (Array.isArray(value)) return `a list of ${value.length}`;
  if (value instanceof Promise) return "a Promise that was not awaited";
  return Object.getPrototypeOf(value)?.constructor?.name ?? "an object";
}

/**
 * A BigInt that 32 bits hold as the number that it is, anything else as it is, for checks to refuse: 64-bit integers
 * of other libraries come as BigInts.
 */
export function asNumber(value: unknown): unknown {
  return typeof value === "bigint" && value >= -(2n ** 31n) && value < 2n ** 32n
    ? Number(value)
    : value;
}

/**
 * Options as they are, if they are an object: a number in their place, as in PyTorch's `x.sum(0)`, would else be
 * ignored.
 *
 * @param action What the caller was about to do, for the message: `create a tensor`.
 * @throws {TypeError} For anything but an object.
 */
export function checkedOptions<T extends object>(action: string, options: T): T {
  if (typeof options === "object" && options !== null) return options;
  throw new TypeError(
    `Cannot ${action}: options are ${told(options)}, expected an object, as in { name: value }`,
  );
}

/** A list as it is; throws `TypeError` for anything but an array. */
export function checkedArray<T>(action: string, name: string, list: readonly T[]): readonly T[] {
  if (Array.isArray(list)) return list;
  throw new TypeError(`Cannot ${action}: ${name} is ${told(list)}, expected an array`);
}

/** Throws unless a value is a number; NaN is one. */
export function assertNumber(action: string, name: string, value: number): void {
  if (typeof value === "number") return;
  throw new TypeError(`Cannot ${action}: ${name} is ${told(value)}, expected a number`);
}

/** Throws unless a value is a finite number. */
export function assertFinite(action: string, name: string, value: number): void {
  if (Number.isFinite(value)) return;
  throw new RangeError(`Cannot ${action}: ${name} is ${told(value)}, expected a finite number`);
}

/** Throws unless a value is a number >= 0; infinity is one. */
export function assertNotNegative(action: string, name: string, value: number): void {
  if (typeof value === "number" && value >= 0) return;
  throw new RangeError(`Cannot ${action}: ${name} is ${told(value)}, expected a number >= 0`);
}

/** Whether a value is a probability. */
export function isProbability(p: number): boolean {
  return typeof p === "number" && p >= 0 && p <= 1;
}

/** Throws unless a value can be called. */
export function assertFunction(action: string, fn: unknown): void {
  if (typeof fn === "function") return;
  throw new TypeError(`Cannot ${action}: got ${told(fn)}, expected a function`);
}
