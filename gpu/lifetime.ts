/** When GPU memory is given back: by `dispose()`, at the end of a `tidy`, or with the garbage. */
import { assertFunction } from "./checks.ts";
import type { Storage } from "./runtime/memory.ts";

/** What a tidy scope can clean up. */
export interface Disposable {
  /** Lets go of GPU memory; harmless when called again. */
  dispose(): void;
}

/** Open tidy scopes, innermost last. */
const scopes: Set<Disposable>[] = [];

/** Enters a new object into the innermost open scope. */
export function enroll(object: Disposable): void {
  scopes.at(-1)?.add(object);
}

/**
 * Runs a function and disposes every tensor made in it, except those in its result: a tensor, or
 * tensors within arrays and plain objects. Tensors made before are left alone. An error disposes all.
 *
 * @param fn A synchronous function.
 * @returns What `fn` returns.
 *
 * @example Keep one result of several steps
 * ```ts ignore
 * const norm = tidy(() => x.square().sum().sqrt());
 * ```
 */
export function tidy<T>(fn: () => T): T {
  assertFunction("tidy", fn);
  const scope = new Set<Disposable>();
  scopes.push(scope);
  let kept: Set<unknown> | undefined;
  try {
    const result = fn();
    if (result instanceof Promise) {
      throw new TypeError(
        "Cannot tidy an asynchronous function: await outside, or dispose with `using`",
      );
    }
    kept = reachable(result, new Set());
    return result;
  } finally {
    scopes.pop();
    for (const object of scope) {
      if (!kept?.has(object)) object.dispose();
      else enroll(object); // It belongs to the scope around this one now.
    }
  }
}

/**
 * As {@linkcode tidy}, for results that belong to no scope around it: what `fn` returns is left to its new
 * owner.
 */
export function tidyApart<T>(fn: () => T): T {
  const scope = new Set<Disposable>();
  scopes.push(scope);
  let kept: Set<unknown> | undefined;
  try {
    const result = fn();
    kept = reachable(result, new Set());
    return result;
  } finally {
    scopes.pop();
    for (const object of scope) if (!kept?.has(object)) object.dispose();
  }
}

/** A value and all that its arrays and plain objects hold. */
function reachable(value: unknown, found: Set<unknown>): Set<unknown> {
  if (typeof value !== "object" || value === null || found.has(value)) return found;
  found.add(value);
  const prototype = Object.getPrototypeOf(value);
  if (Array.isArray(value) || prototype === Object.prototype || prototype === null) {
    for (const member of Object.values(value)) reachable(member, found);
  }
  return found;
}

/** A tensor's hold on its storage, kept apart from the tensor so that garbage can be noticed. */
export class Hold {
  #storage: Storage | undefined;
  readonly #onRelease: () => void;

  /** Takes over one reference. */
  constructor(storage: Storage, onRelease: () => void) {
    this.#storage = storage;
    this.#onRelease = onRelease;
  }

  /** The storage, or `undefined` once released. */
  get storage(): Storage | undefined {
    return this.#storage;
  }

  /** Gives the reference back, once. */
  release(): void {
    this.#storage?.release();
    if (this.#storage) this.#onRelease();
    this.#storage = undefined;
  }
}

const garbage = new FinalizationRegistry<Hold>((hold) => hold.release());

/** Releases the hold when its owner is collected, unless it was released before. */
export function releaseWithOwner(owner: object, hold: Hold): void {
  garbage.register(owner, hold, hold);
}

/** Stops watching: the hold was released by hand. */
export function forgetOwner(hold: Hold): void {
  garbage.unregister(hold);
}
