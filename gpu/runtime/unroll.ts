/**
 * Unrolls marked loops of a kernel. Compilers below WebGPU guard every index that they do not see as
 * a constant, which costs a fast inner loop 15 to 25 percent; an unrolled loop has only constants.
 * Bodies stay ordinary WGSL with ordinary loops, readable and checkable as they are.
 */

// The mark is a WGSL comment with the one word "unroll"; LIMIT is a number or one of the constants.
const MARKED_LOOP = /\/\* unroll \*\/ for \(var (\w+) = 0u; \1 < (\w+); \1\+\+\) \{/;

/**
 * Replaces each marked loop, `for (var i = 0u; i < LIMIT; i++) { ... }` right behind the comment, by its
 * turns, each a block that declares the loop variable as a constant.
 *
 * @param source WGSL.
 * @param constants Values of the names that marked loops use as their limits.
 * @returns The WGSL without marked loops.
 */
export function unroll(source: string, constants: Readonly<Record<string, number>>): string {
  let match: RegExpExecArray | null;
  while ((match = MARKED_LOOP.exec(source))) {
    const [head, variable, limit] = match;
    const turns = constants[limit!] ?? Number.parseInt(limit!);
    if (!Number.isInteger(turns)) {
      throw new Error(`Cannot unroll a loop: its limit ${limit} is not a known constant`);
    }
    const bodyStart = match.index + head.length;
    const bodyEnd = closingBrace(source, bodyStart);
    const body = source.slice(bodyStart, bodyEnd);
    const unrolled = Array.from(
      { length: turns },
      (_, turn) => `{ const ${variable} = ${turn}u;${body}}`,
    );
    source = source.slice(0, match.index) + unrolled.join("\n") + source.slice(bodyEnd + 1);
  }
  return source;
}

/** The position of the brace that closes the block that begins before `start`. */
function closingBrace(source: string, start: number): number {
  let depth = 1;
  for (let at = start; at < source.length; at++) {
    if (source[at] === "{") depth++;
    if (source[at] === "}" && --depth === 0) return at;
  }
  throw new Error("Cannot unroll a loop: its block is not closed");
}
