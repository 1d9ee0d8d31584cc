/** Attention of every op, mask, bias, dropout, type, stride and rank, forward and backward; masks; merges. */
import { scaledDotProductAttention, tidy } from "@denoformers/attention";
import fc from "fast-check";
import {
  callsOf,
  type CallSpec,
  COMPILED,
  type LooseCall,
  looseCalls,
  masks as maskSpecs,
  type Partition,
  partitions,
  spoils,
} from "../attention/_arbitraries.ts";
import { makeSpoiledMask, type MaskSpec, type Spoil } from "../attention/_mask_specs.ts";
import { assertMaskMatches, assertMergesMatch, checkLooseCall } from "../attention/_properties.ts";
import { assertCallMatches } from "../attention/_random_call.ts";
import { assertGradientsMatch } from "../attention/_random_gradients.ts";
import { expectedOutput } from "../attention/_sdpa_reference.ts";
import { assertIs } from "./_compare.ts";
import { type Family, take } from "./_family.ts";
import { broadcastAt, numel, someNumbers } from "./_host.ts";
import { assertRefused } from "./_refused.ts";
import { narrowed, narrowings, shapes } from "./_shapes.ts";

/** Forward, against the float64 reference. */
export const attention: Family<CallSpec> = {
  name: "attention",
  weight: 0.6,
  quick: 2,
  cases: (scope) => callsOf(scope.pick(COMPILED, 1)),
  check: (device, call) => assertCallMatches(device, call),
};

/** Backward, against the reference's gradients. */
export const attentionGradients: Family<CallSpec> = {
  name: "attention_gradients",
  weight: 0.2,
  quick: 1,
  cases: (scope) => callsOf(scope.pick(COMPILED.filter(({ gradients }) => gradients), 1)),
  check: (device, call) =>
    assertGradientsMatch(device, call, call.upstream ?? { view: call.views[0], lse: false }),
};

/** Arguments that may not go together: right, or refused. */
export const looseAttention: Family<LooseCall> = {
  name: "attention_arguments",
  weight: 10,
  quick: 30,
  cases: () => looseCalls,
  check: (device, call) => tidy(() => checkLooseCall(device, call)),
};

/** Parts of the keys, merged. */
export const merges: Family<Partition> = {
  name: "merges",
  weight: 0.4,
  quick: 1,
  cases: () => partitions,
  check: (device, partition) => assertMergesMatch(device, partition),
};

/** Masks on the host, by their formulas. */
export const masks: Family<MaskSpec> = {
  name: "masks",
  weight: 8,
  quick: 30,
  cases: () => maskSpecs,
  check: (_, spec) => assertMaskMatches(spec),
};

/** Masks of arguments that are none. */
export const spoiledMasks: Family<{ readonly spec: MaskSpec; readonly spoil: Spoil }> = {
  name: "mask_arguments",
  weight: 10,
  quick: 60,
  cases: () => fc.record({ spec: maskSpecs, spoil: spoils }),
  check(_, { spec, spoil }) {
    const make = makeSpoiledMask(spec, spoil);
    if (make) assertRefused(make);
  },
};

/** A call of `scaledDotProductAttention`. */
interface SdpaCase {
  readonly lead: readonly number[];
  readonly heads: number;
  /** Query heads that share a head of keys. */
  readonly shared: number;
  readonly L: number;
  readonly S: number;
  readonly E: number;
  readonly mask: "none" | "bool" | "f32" | "causal";
  readonly narrowing: { readonly ones: readonly boolean[]; readonly dropped: number };
  readonly scale: number | undefined;
  readonly numbers: number;
}

/** PyTorch's layout, against its definition. */
export const scaledDotProduct: Family<SdpaCase> = {
  name: "scaled_dot_product",
  weight: 2,
  quick: 2,
  cases: (scope) =>
    fc.record({
      lead: shapes(2, 3),
      heads: fc.integer({ min: 1, max: 3 }),
      shared: fc.integer({ min: 1, max: 2 }),
      L: fc.nat(9),
      S: fc.nat(9),
      E: scope.some([4, 5, 8, 16], 1),
      mask: scope.some(["none", "bool", "f32", "causal"] as const, 2),
      narrowing: narrowings,
      scale: fc.constantFrom(undefined, 0, 1, -0.5),
      numbers: fc.nat(99),
    }),
  async check(device, { lead, heads, shared, L, S, E, mask, narrowing, scale, numbers }) {
    const array = (shape: readonly number[], which: number) => ({
      shape,
      data: Float32Array.from(someNumbers(numel(shape), 4 * numbers + which)),
    });
    const query = array([...lead, heads * shared, L, E], 0);
    const key = array([...lead, heads, S, E], 1);
    const value = array([...lead, heads, S, E], 2);
    const drawn = array(narrowed([...lead, heads * shared, L, S], narrowing), 3);
    const isBool = mask === "bool";
    const added = isBool ? { ...drawn, data: drawn.data.map((x) => Number(x > -0.3)) } : drawn;
    const bias = (index: readonly number[]) => {
      if (mask === "none") return 0;
      if (mask === "causal") return index.at(-1)! <= index.at(-2)! ? 0 : -Infinity;
      const x = broadcastAt({ ...added, data: Array.from(added.data) }, index);
      return isBool ? (x === 0 ? -Infinity : 0) : x;
    };
    const result = tidy(() => {
      const [q, k, v] = [query, key, value].map(({ shape, data }) =>
        device.tensor(data, { shape })
      );
      return scaledDotProductAttention(q!, k!, v!, {
        attnMask: mask === "none" || mask === "causal"
          ? undefined
          : device.tensor(added.data, { shape: added.shape, dtype: isBool ? "bool" : "f32" }),
        isCausal: mask === "causal",
        enableGqa: shared > 1,
        scale,
      });
    });
    const { shape, data } = expectedOutput(query, key, value, bias, scale);
    const [found] = await take([result]);
    // Averages of numbers below 4, of weights that are off by the last bits of scores below 40.
    assertIs(found!, { shape, data: Array.from(data) }, "f32", { atol: 2e-5, rtol: 2e-5 });
  },
};
