/** Checks of arguments that many public functions share. Nothing here knows of a GPU. */
import { misplacedOptions, unknownOption } from "./option_words.ts";

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
 * The names that options may have, all of an interface's: one that is forgotten, or not there, does not compile.
 *
 * Beside each name are the kinds of values that are meant for it where they stand in the place of the options, as
 * in PyTorch's `x.sum(0)`: `number`, `boolean`, `string`, `list`, `function` or the name of a class, with a space
 * between them. Errors advise by that.
 */
export type OptionNames<T> = Readonly<Record<keyof T, string>>;

/**
 * Options as they are, if they are a plain object with known names: what is misspelt, and what stands in the place
 * of the options, would else be ignored.
 *
 * @param action What the caller was about to do, for the message: `create a tensor`.
 * @param known The names that they may have, beside the interface.
 * @throws {TypeError} For other names, and for anything but a plain object.
 */
export function checkedOptions<T extends object>(
  action: string,
  options: T,
  known: OptionNames<NoInfer<T>>,
): T {
  if (!isPlain(options)) {
    throw new TypeError(`Cannot ${action}: ${misplacedOptions(options, told(options), known)}`);
  }
  for (const name in options) {
    // What every object inherits is a function, or the prototype.
    if (typeof known[name] === "string" || isOfAll(options, name)) continue;
    throw new TypeError(`Cannot ${action}: ${unknownOption(name, Object.keys(known))}`);
  }
  return options;
}

/** Whether a name comes from the prototype of all objects, into which some scripts put their own. */
function isOfAll(options: object, name: string): boolean {
  return name in Object.prototype && !Object.hasOwn(options, name);
}

/**
 * Throws if a call has more arguments than the function takes: JavaScript would ignore them, and with them what
 * PyTorch's functions take there.
 *
 * @param action What the caller was about to do, for the message.
 * @param given The function's own `arguments`.
 * @param most How many it takes.
 * @param advice What to write instead.
 */
export function assertArguments(
  action: string,
  given: ArrayLike<unknown>,
  most: number,
  advice = "leave it out",
): void {
  if (given.length <= most) return;
  throw new TypeError(
    `Cannot ${action}: argument ${most + 1} is ${told(given[most])}, expected ${
      most === 0 ? "none" : `at most ${most}`
    }; ${advice}`,
  );
}

/** What {@linkcode limitArguments} must be told of a method. */
export type ArgumentLimit = readonly [
  most: number,
  /** What to write instead of more. */
  advice?: string,
  /** Throws if the first argument is wrong, as where a list was given as one number after the other. */
  checkFirst?: (value: never) => void,
];

/** By the name of the method. */
export type ArgumentLimits = Readonly<Record<string, ArgumentLimit>>;

/**
 * Makes the methods of a class, static ones too, refuse arguments beyond their parameters, as
 * {@linkcode assertArguments} does; to be called in a static block with `this`.
 *
 * @param type The class; what it inherits stays as it is.
 * @param limits Methods with advice, and those with defaults for parameters, which `length` does not count.
 */
export function limitArguments(
  type: { readonly prototype: object },
  limits: ArgumentLimits = {},
): void {
  for (const owner of [type, type.prototype]) {
    // Names alone: what goes by a symbol is called by the language and by hosts, with arguments of theirs.
    for (const name of Object.getOwnPropertyNames(owner)) {
      const property = Object.getOwnPropertyDescriptor(owner, name)!;
      const method: unknown = property.value;
      // So is toJSON().
      if (typeof method !== "function" || name === "constructor" || name === "toJSON") continue;
      const [most, advice, checkFirst] = Object.hasOwn(limits, name)
        ? limits[name]!
        : [method.length];
      const value = function (this: unknown): unknown {
        if (arguments.length > most) checkFirst?.(arguments[0] as never);
        assertArguments(name, arguments, most, advice);
        return Reflect.apply(method, this, arguments);
      };
      Object.defineProperty(value, "name", { value: name });
      Object.defineProperty(owner, name, { ...property, value });
    }
  }
}

/** A record of any names as it is; throws `TypeError` for anything but a plain object. */
export function checkedRecord<T extends object>(action: string, name: string, record: T): T {
  if (isPlain(record)) return record;
  throw new TypeError(
    `Cannot ${action}: ${name} is ${told(record)}, expected an object with values by name`,
  );
}

/** Whether a value is an object that is no list and of no class, such as `{}`, also of another window's script. */
function isPlain(value: unknown): value is object {
  if (typeof value !== "object" || value === null) return false;
  const prototype = Object.getPrototypeOf(value);
  return prototype === null || Object.getPrototypeOf(prototype) === null;
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
