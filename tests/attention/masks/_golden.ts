/** What xformers' masks allow, from `tests/fixtures/masks_golden.json`; its script says how it is made. */
import * as attention from "@denoformers/attention";
import type { AttentionBias } from "@denoformers/attention";
import { assertEquals } from "@std/assert";
import golden from "../../fixtures/masks_golden.json" with { type: "json" };
import { sharedDevice } from "../../_device.ts";

/** A mask, how it is made, and the keys that each row may see as a string of 0 and 1. */
export interface GoldenCase {
  readonly mask: string;
  readonly made: readonly (readonly [name: string, args: readonly unknown[]])[];
  readonly shape: readonly [queries: number, keys: number];
  readonly rows: readonly string[];
}

/** The cases of one class. Throws if there is none, so that no test passes for want of cases. */
export function goldenCases(mask: string): GoldenCase[] {
  const cases = (golden as unknown as GoldenCase[]).filter((testCase) => testCase.mask === mask);
  if (cases.length === 0) throw new Error(`There are no golden cases of ${mask}`);
  return cases;
}

/** Compares every case of a class with the mask that its steps make here. */
export async function assertMatchesGolden(mask: string): Promise<void> {
  for (const testCase of goldenCases(mask)) {
    const bias = await makeGolden(testCase);
    const label = JSON.stringify(testCase.made);
    assertEquals(bias.constructor.name, mask, label);
    assertEquals(rowsOf(bias, testCase.shape), [...testCase.rows], label);
  }
}

/** A materialized mask as strings of 0 and 1. */
export function rowsOf(mask: AttentionBias, [queries, keys]: readonly [number, number]): string[] {
  const bias = mask.materialize([queries, keys]);
  return Array.from(
    { length: queries },
    (_, i) => Array.from(bias.slice(i * keys, (i + 1) * keys), (x) => x === 0 ? "1" : "0").join(""),
  );
}

/** Calls what a case's steps name. */
export async function makeGolden({ made }: Pick<GoldenCase, "made">): Promise<AttentionBias> {
  let mask: unknown;
  for (const [name, args] of made) {
    const [owner, method] = name.includes(".") ? name.split(".") : [undefined, name];
    if (mask === undefined && owner === undefined) {
      mask = new (classNamed(name))(...args);
      continue;
    }
    const target = (owner === undefined ? mask : classNamed(owner)) as Methods;
    mask = method!.startsWith("fromTensor")
      ? await packedMask(target[method!]!.bind(target), args as readonly number[][][])
      : target[method!]!(...args);
  }
  return mask as AttentionBias;
}

type Methods = Record<string, (...args: readonly unknown[]) => unknown>;

function classNamed(name: string): new (...args: readonly unknown[]) => AttentionBias {
  return (attention as unknown as Record<string, new () => AttentionBias>)[name]!;
}

/** The mask that a method makes of tensors, which are given by their shapes. */
async function packedMask(
  method: (...lists: readonly unknown[]) => unknown,
  shapes: readonly number[][][],
): Promise<unknown> {
  const device = await sharedDevice();
  return attention.tidy(() => {
    const lists = shapes.map((list) => list.map((shape) => device.zeros(shape)));
    const result = method(...lists) as { mask: unknown } | unknown[];
    return Array.isArray(result) ? result[0] : result.mask;
  });
}
