/** How much of the tests runs: all of them, but for `deno task test` and for browsers and Node, which run the core. */

/**
 * Whether only the core runs: every function, op, mask, type and gradient once. What it leaves out takes long, and
 * tries more sizes or more random cases of what the core tries too.
 */
export const isCore: boolean = Deno.env.get("DENOFORMERS_TESTS") === "core";

/** These cases, or none where only the core runs. */
export function beyondCore<const T>(...cases: readonly T[]): readonly T[] {
  return isCore ? [] : cases;
}
