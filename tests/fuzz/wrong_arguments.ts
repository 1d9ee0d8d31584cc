/** One argument of a call that is right but for it: refused by an error of ours, whatever it is. */
import { type Device, requestDevice, tidy } from "@denoformers/attention";
import fc from "fast-check";
import { ENTRIES } from "./_entries.ts";
import { type Arguments, disposeOwned } from "./_entry.ts";
import type { Family } from "./_family.ts";
import { type JunkName, junkOf, type Kind, KINDS } from "./_junk.ts";
import { faultOf } from "./_refused.ts";

/** Which argument of which function, and what it is. */
interface WrongCase {
  readonly name: string;
  readonly argument: string;
  readonly junk: JunkName;
}

/** Arguments that are not among the right ones, since these are made with them. */
const REQUIRED = new Set(["options", "fn", "make", "definition", "state", "tensors"]);

let other: Promise<Device> | undefined;

/** Every wrong argument that there is a name for. */
export const WRONG_CASES: readonly WrongCase[] = ENTRIES.flatMap(({ name, kinds }) =>
  Object.entries(kinds).flatMap(([argument, kind]) =>
    KINDS[kind as Kind].map((junk) => ({ name, argument, junk }))
  )
);

/** Calls that must be refused. */
export const wrongArguments: Family<WrongCase> = {
  name: "wrong_arguments",
  weight: 22,
  quick: 120,
  cases: () => fc.constantFrom(...WRONG_CASES),
  async check(device, { name, argument, junk }) {
    const { right, call } = ENTRIES.find((entry) => entry.name === name)!;
    const world = { device, other: await (other ??= requestDevice({ tune: false })) };
    let isRequired = true;
    let result: unknown;
    try {
      // Tensors of the call are disposed with the scope, also where it is accepted; a promise goes on without them.
      tidy(() => {
        const args = right(device);
        isRequired = argument in args || REQUIRED.has(argument);
        result = call({ ...args, [argument]: junkOf(junk, world) } as Arguments, device);
      });
      result = await result;
    } catch (error) {
      const fault = faultOf(error);
      if (!fault) return;
      throw new Error(`${name}() with ${argument} that is ${junk}: ${fault}`, { cause: error });
    } finally {
      disposeOwned();
    }
    // Null for what may be left out is taken for nothing there, as JavaScript's own ?? does.
    if (junk === "null" && !isRequired) return;
    throw new Error(`${name}() with ${argument} that is ${junk}: accepted, gave ${String(result)}`);
  },
};
