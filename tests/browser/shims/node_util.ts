/**
 * The parts of `node:util` that the assertions of the tests use, for where there is no Node: deep
 * equality as `isDeepStrictEqual` has it, and a text for any value.
 *
 * @module
 */

/** A text shows this many elements of a list or an object, and this many levels. */
const MAX_ELEMENTS = 100;
const MAX_DEPTH = 4;

type Indexed = ArrayLike<unknown> & ArrayBufferView;
type Pairs = readonly (readonly [unknown, unknown])[];

/**
 * Whether two values are deeply equal: the same prototypes, the same elements in the same order, and
 * primitives the same by `Object.is`.
 *
 * @param actual One value.
 * @param expected The other.
 */
export function isDeepStrictEqual(actual: unknown, expected: unknown): boolean {
  return equal(actual, expected, []);
}

/** `pairs` are those being compared further out, which a cycle leads back to. */
function equal(a: unknown, b: unknown, pairs: Pairs): boolean {
  if (Object.is(a, b)) return true;
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) return false;
  if (Object.getPrototypeOf(a) !== Object.getPrototypeOf(b)) return false;
  if (pairs.some(([x, y]) => x === a && y === b)) return true;
  if (isIndexed(a) && isIndexed(b)) return equalElements(a, b);
  const inside = [...pairs, [a, b] as const];
  if (a instanceof ArrayBuffer && b instanceof ArrayBuffer) {
    return equalElements(new Uint8Array(a), new Uint8Array(b));
  }
  if (a instanceof Date && b instanceof Date) return Object.is(a.getTime(), b.getTime());
  if (a instanceof Map && b instanceof Map) return equal([...a], [...b], inside);
  if (a instanceof Set && b instanceof Set) return equal([...a], [...b], inside);
  if (a instanceof Error && b instanceof Error && (a.name !== b.name || a.message !== b.message)) {
    return false;
  }
  if (Array.isArray(a) && Array.isArray(b) && a.length !== b.length) return false;
  const keys = Object.keys(a);
  if (keys.length !== Object.keys(b).length) return false;
  return keys.every((key) =>
    Object.hasOwn(b, key) && equal(Reflect.get(a, key), Reflect.get(b, key), inside)
  );
}

function isIndexed(value: unknown): value is Indexed {
  return ArrayBuffer.isView(value) && !(value instanceof DataView);
}

function equalElements(a: ArrayLike<unknown>, b: ArrayLike<unknown>): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (!Object.is(a[i], b[i])) return false;
  return true;
}

/**
 * A text that shows a value to a person.
 *
 * @param value The value.
 */
export function inspect(value: unknown): string {
  return show(value, 0);
}

function show(value: unknown, depth: number): string {
  if (typeof value === "string") return JSON.stringify(value);
  if (typeof value === "bigint") return `${value}n`;
  if (typeof value === "function") return `[Function: ${value.name}]`;
  if (Object.is(value, -0)) return "-0";
  if (typeof value !== "object" || value === null) return String(value);
  if (value instanceof Error) return value.stack ?? `${value}`;
  if (depth === MAX_DEPTH) return "...";
  if (Array.isArray(value)) return `[${elements(value, depth)}]`;
  const name = value.constructor?.name ?? "null prototype";
  if (isIndexed(value)) return `${name}(${value.length}) [${elements(Array.from(value), depth)}]`;
  if (value instanceof Map || value instanceof Set) {
    return `${name} [${elements([...value], depth)}]`;
  }
  const entries = Object.entries(value);
  const shown = entries.slice(0, MAX_ELEMENTS).map(([key, v]) => `${key}: ${show(v, depth + 1)}`);
  return `${name === "Object" ? "" : `${name} `}{ ${shown.join(", ")} }`;
}

function elements(list: readonly unknown[], depth: number): string {
  const shown = list.slice(0, MAX_ELEMENTS).map((element) => show(element, depth + 1));
  if (list.length > MAX_ELEMENTS) shown.push(`... ${list.length - MAX_ELEMENTS} more`);
  return shown.join(", ");
}
