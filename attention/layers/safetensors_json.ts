/** The JSON of a safetensors header, more strictly than JSON.parse() reads it, and its values in errors. */

/** Longer lists are shown by their length alone. */
const MAX_SHOWN = 8;

/** Headers have three levels. Some more may come from fields of the future; many are an attack. */
const MAX_DEPTH = 16;

/**
 * The value that a header's bytes stand for.
 *
 * @throws {TypeError} If they are not JSON in UTF-8, or an object has one key twice.
 * @throws {RangeError} If the value is nested too deep.
 */
export function decodeJson(bytes: Uint8Array): unknown {
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (error) {
    fail(TypeError, "the header is not text in UTF-8", error);
  }
  try {
    assertUniqueKeys(text);
    return JSON.parse(text);
  } catch (error) {
    if (error instanceof SyntaxError) fail(TypeError, "the header is not JSON", error);
    throw error;
  }
}

/** Throws for an object with one key twice, of which JSON.parse() would show the last, and for deep nesting. */
function assertUniqueKeys(text: string): void {
  const open: Set<string>[] = []; // The keys so far in each object, or list, that is open.
  for (let at = 0; at < text.length; at++) {
    const char = text[at]!;
    if (char === "{" || char === "[") {
      open.push(new Set());
      if (open.length > MAX_DEPTH) {
        fail(RangeError, `the header is nested deeper than ${MAX_DEPTH} levels, expected 3`);
      }
    } else if (char === "}" || char === "]") {
      open.pop();
    } else if (char === '"') {
      const end = endOfString(text, at);
      let next = end;
      while (/\s/.test(text[next] ?? "")) next++;
      if (text[next] === ":") {
        const key: string = JSON.parse(text.slice(at, end));
        if (open.at(-1)?.has(key)) {
          fail(TypeError, `the header has the key ${quote(key)} twice in one object`);
        }
        open.at(-1)?.add(key);
      }
      at = end - 1;
    }
  }
}

/** The index behind the closing quote of the string that opens at `start`. */
function endOfString(text: string, start: number): number {
  let at = start + 1;
  while (at < text.length && text[at] !== '"') at += text[at] === "\\" ? 2 : 1;
  return at + 1;
}

/** Whether text has no half of a surrogate pair, which UTF-8 cannot hold. */
export function isWellFormed(text: string): boolean {
  return !/\p{Surrogate}/u.test(text);
}

/** Text in quotes for a message, shortened. */
export function quote(text: string): string {
  return JSON.stringify(text.length > 60 ? `${text.slice(0, 57)}...` : text);
}

/** A value of JSON in a message, however large it is. */
export function describeValue(value: unknown): string {
  if (typeof value === "string") return quote(value);
  if (Array.isArray(value)) {
    const isShort = value.length <= MAX_SHOWN && value.every((item) => typeof item === "number");
    return isShort ? `[${value.join(", ")}]` : `a list of ${value.length}`;
  }
  return typeof value === "object" && value !== null ? "an object" : String(value);
}

/** Throws an error that says why a file cannot be read. */
export function fail(
  Kind: new (text: string, options?: ErrorOptions) => Error,
  what: string,
  cause?: unknown,
): never {
  throw new Kind(`Cannot read safetensors: ${what}`, cause === undefined ? {} : { cause });
}
