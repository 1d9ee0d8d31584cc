/**
 * A random walk over the public operations: each step is plain data, is done whatever state the walk is in, and may
 * end in one of the library's errors. Behind every step the library's counts must be those found by other means.
 */
import type { Device, MemoryStats, Tensor } from "@denoformers/attention";
import { assertEquals, assertGreaterOrEqual, assertLessOrEqual } from "@std/assert";
import fc from "fast-check";
import { masks } from "../attention/_arbitraries.ts";
import type { MaskSpec } from "../attention/_mask_specs.ts";
import { type ActionName, ACTIONS } from "./_actions.ts";
import { collectUntil } from "./_garbage.ts";
import type { BufferWatch } from "./_live_buffers.ts";
import { heldBy } from "./_reachable.ts";
import { TinyModel } from "./_tiny_model.ts";

/** One step. */
export interface Step {
  readonly action: ActionName;
  /** Which of the tensors at hand it takes, counted around. */
  readonly first: number;
  readonly second: number;
  /** Which variant of the action it is. */
  readonly variant: number;
  /** For attention. */
  readonly mask: MaskSpec;
}

/** A step of any kind. */
export const steps: fc.Arbitrary<Step> = fc.record({
  action: fc.constantFrom(...Object.keys(ACTIONS) as ActionName[]),
  first: fc.nat(50),
  second: fc.nat(50),
  variant: fc.nat(1000),
  mask: masks,
});

/** With so many tensors at hand the oldest is disposed. */
const MOST_TENSORS = 24;

/** The tensors at hand, and what becomes of them. */
export class Walk implements Disposable {
  /** Where it takes place; nobody else uses it. */
  readonly device: Device;
  /** Tensors at hand, the oldest first; none is disposed. */
  readonly tensors: Tensor[] = [];
  /** A model with its optimiser, made when first needed. */
  model: TinyModel | undefined;
  /** How many steps ended in an error of ours. */
  refused = 0;
  /** Whether tensors were left to garbage collection that may be there still. */
  hasGarbage = false;
  readonly #watch: BufferWatch;
  readonly #name: () => string;

  /** The device must have been requested under the watch. */
  constructor(device: Device, watch: BufferWatch) {
    this.device = device;
    this.#watch = watch;
    this.#name = () => device.toString();
  }

  /** Does one step and checks the counts. */
  async step(step: Step): Promise<void> {
    try {
      this.keep(await ACTIONS[step.action](this, step));
    } catch (error) {
      if (!isOurs(error)) throw error;
      this.refused++;
    }
    while (this.tensors.length > MOST_TENSORS) this.tensors.shift()!.dispose();
    this.check(`after ${step.action}`);
  }

  /** Takes over what an action made. */
  keep(made: readonly Tensor[] | void): void {
    this.tensors.push(...made ?? []);
  }

  /** The model, made at the first call. */
  theModel(): TinyModel {
    return this.model ??= new TinyModel(this.device);
  }

  /** Collects garbage until none is left. */
  async collect(): Promise<void> {
    const { tensors } = this.#held();
    await collectUntil(() => this.device.memory().tensors <= tensors);
    this.hasGarbage = false;
  }

  /** Disposes all that is at hand. */
  [Symbol.dispose](): void {
    for (const tensor of this.tensors.splice(0)) tensor.dispose();
    this.model?.[Symbol.dispose]();
    this.model = undefined;
  }

  /** Asserts that the library's counts are right. */
  check(when: string): void {
    const memory = this.device.memory();
    const message = (name: string) => `${name} ${when}, of ${this.#name()}`;
    assertEquals(memory.reservedBytes, this.#watch.of(this.device).bytes, message("reservedBytes"));
    assertGreaterOrEqual(memory.reservedBytes, memory.allocatedBytes, message("reservedBytes"));
    assertGreaterOrEqual(memory.peakBytes, memory.allocatedBytes, message("peakBytes"));
    const held = this.#held();
    for (const name of ["tensors", "buffers", "allocatedBytes"] as const) {
      if (this.hasGarbage) assertLessOrEqual(held[name], memory[name], message(name));
      else assertEquals(memory[name], held[name], message(name));
    }
  }

  #held(): Pick<MemoryStats, "tensors" | "buffers" | "allocatedBytes"> {
    return heldBy([...this.tensors, ...this.model?.tensors() ?? []]);
  }
}

/** Whether an error is one of the library's own, or was thrown on purpose by an action. */
function isOurs(error: unknown): boolean {
  return error instanceof Error && /^(Cannot|GPU|on purpose)/.test(error.message);
}
