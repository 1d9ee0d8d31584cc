/** What a public function is to the fuzzer: its arguments that are right, and of what kind each of them is. */
import type { Device } from "@denoformers/attention";
import type { Kind } from "./_junk.ts";

/** Arguments by name; `options` stands for all options at once. */
// deno-lint-ignore no-explicit-any -- arguments that are wrong have no type
export type Arguments = Record<string, any>;

/** A public function. */
export interface Entry {
  /** As `Class.method`, or the function's own. */
  readonly name: string;
  readonly kinds: Readonly<Record<string, Kind>>;
  /** Arguments that are right; those of options may be missing. */
  readonly right: (device: Device) => Arguments;
  readonly call: (args: Arguments, device: Device) => unknown;
}

const owned: { dispose(): void }[] = [];

/** A layer or an optimiser whose tensors no scope disposes: {@linkcode disposeOwned} does. */
export function own<T extends { dispose(): void }>(made: T): T {
  owned.push(made);
  return made;
}

/** Disposes what calls have made that belongs to no scope. */
export function disposeOwned(): void {
  for (const made of owned.splice(0)) made.dispose();
}

/** All options as they were spoiled, or these. */
export function given(args: Arguments, options: Record<string, unknown>): never {
  if ("options" in args) return args.options as never;
  const wanted = Object.entries(options).filter(([name, value]) =>
    value !== undefined || name in args
  );
  return Object.fromEntries(wanted) as never;
}

/** An entry of these parts. */
export const entry = (
  name: string,
  kinds: Entry["kinds"],
  right: Entry["right"],
  call: Entry["call"],
): Entry => ({ name, kinds, right, call });

/** No arguments. */
export const nothing = () => ({});
/** A tensor `[2, 3]` whose method is called, and the method's arguments. */
export const withX = (rest: Arguments = {}) => (device: Device) => ({
  x: device.ones([2, 3]),
  ...rest,
});
