/** PyTorch's function against plain loops in float64, in its own layout. */
import {
  LowerTriangularMask,
  MathForwardOp,
  scaledDotProductAttention,
  type ScaledDotProductAttentionOptions,
  type Tensor,
} from "@denoformers/attention";
import { assertAllClose } from "@denoformers/attention/testing";
import { assertEquals, assertNotEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { assertNoLeak, nanPadded, sharedDevice } from "../_device.ts";
import { TIGHT } from "./_compare.ts";
import { type Bias, biasOf, expectedOutput, type Host, random } from "./_sdpa_reference.ts";

const device = await sharedDevice();

/** What PyTorch computed in float64, with the sequence before the heads; its script says more. */
const GOLDEN: readonly {
  readonly name: string;
  readonly query: Host;
  readonly key: Host;
  readonly value: Host;
  readonly causal: boolean;
  readonly scale?: number;
  readonly bias?: Host & { readonly boolean: boolean };
  readonly out: Host;
}[] = JSON.parse(
  Deno.readTextFileSync(new URL("../fixtures/attention_golden.json", import.meta.url)),
);

const NO_BIAS: Bias = () => 0;

/** Runs the function on views amid NaN and holds it against the loops. */
async function check(
  [q, k, v]: readonly [readonly number[], readonly number[], readonly number[]],
  options: ScaledDotProductAttentionOptions = {},
  bias = NO_BIAS,
): Promise<void> {
  const [query, key, value] = [random(q, 1), random(k, 2), random(v, 3)];
  const tensors = [query, key, value].map(({ shape, data }) => nanPadded(device, data, shape));
  using out = scaledDotProductAttention(tensors[0]!, tensors[1]!, tensors[2]!, options);
  const expected = expectedOutput(query, key, value, bias, options.scale);
  assertAllClose({ shape: out.shape, data: await out.data() }, expected, TIGHT);
  for (const tensor of tensors) tensor.dispose();
}

/** Checks one shape of mask: bool with about a third visible, or numbers, one of them -Infinity. */
async function checkMask(
  shapes: readonly [readonly number[], readonly number[], readonly number[]],
  shape: readonly number[],
  dtype: "bool" | "f32",
  options: ScaledDotProductAttentionOptions = {},
): Promise<void> {
  const { data } = random(shape, 4);
  const values = dtype === "bool" ? data.map((x) => x > 0.4 ? 1 : 0) : data;
  if (dtype === "f32") values[values.length - 1] = -Infinity;
  using attnMask = device.tensor(values, { shape, dtype });
  const bias = biasOf({ shape, data: values }, dtype === "bool");
  await check(shapes, { ...options, attnMask }, bias);
}

const SHAPES = {
  "[L, E]": [[5, 8], [7, 8], [7, 6]],
  "[H, L, E]": [[3, 5, 8], [3, 7, 8], [3, 7, 6]],
  "[N, H, L, E]": [[2, 3, 5, 8], [2, 3, 7, 8], [2, 3, 7, 6]],
  "[N1, N2, H, L, E]": [[2, 3, 4, 5, 8], [2, 3, 4, 7, 8], [2, 3, 4, 7, 6]],
  "[N1, N2, N3, H, L, E]": [[2, 1, 3, 2, 5, 8], [2, 1, 3, 2, 7, 8], [2, 1, 3, 2, 7, 6]],
} as const;

describe("scaledDotProductAttention()", () => {
  for (const { name, query, key, value, causal, scale, bias, out } of GOLDEN) {
    it(`equals PyTorch: ${name}`, async () => {
      const [q, k, v] = [query, key, value].map(({ data, shape }) =>
        device.tensor(data, { shape }).transpose(1, 2)
      ) as [Tensor, Tensor, Tensor];
      const dtype = bias?.boolean ? "bool" : "f32";
      using attnMask = bias && device.tensor(bias.data, { shape: bias.shape, dtype });
      const options = { attnMask, scale, isCausal: causal, enableGqa: true };
      using result = scaledDotProductAttention(q, k, v, options);
      using sequenceFirst = result.transpose(1, 2);
      // "large scores" reach 1e5, where a float's last bit is 8e-3.
      const tolerance = name === "large scores" ? { atol: 0.05, rtol: 0 } : TIGHT;
      assertAllClose(
        { shape: sequenceFirst.shape, data: await sequenceFirst.data() },
        out,
        tolerance,
      );
    });
  }

  for (const [name, shapes] of Object.entries(SHAPES)) {
    it(`equals the formula for ${name}, with Ev other than E and S other than L`, async () => {
      await check(shapes);
      await check(shapes, { scale: 0.7 });
      await check(shapes, { scale: 0 });
    });

    it(`is causal from the top left for ${name}, whichever of L and S is larger`, async () => {
      const causal: Bias = (index) => index.at(-1)! <= index.at(-2)! ? 0 : -Infinity;
      await check(shapes, { isCausal: true }, causal);
      const [q, k, v] = shapes;
      const long = (shape: readonly number[]) => shape.with(-2, 9);
      await check([long(q), k, v], { isCausal: true }, causal);
    });
  }

  it("broadcasts masks of every pattern over one leading axis", async () => {
    const shapes = SHAPES["[N, H, L, E]"];
    for (const dtype of ["bool", "f32"] as const) {
      for (
        const shape of [[7], [5, 1], [5, 7], [3, 1, 7], [1, 1, 5, 7], [2, 1, 1, 7], [2, 3, 5, 7]]
      ) await checkMask(shapes, shape, dtype);
    }
  });

  it("broadcasts masks of every pattern over several leading axes", async () => {
    const two = SHAPES["[N1, N2, H, L, E]"];
    const masks = [[5, 7], [3, 1, 5, 7], [2, 1, 1, 5, 7], [1, 3, 4, 1, 7], [2, 3, 1, 1, 7]];
    for (const shape of masks) {
      await checkMask(two, shape, "f32");
      await checkMask(two, shape, "bool");
    }
    const three = SHAPES["[N1, N2, N3, H, L, E]"];
    const wide = three.map((shape) => shape.with(1, 2)) as unknown as typeof three;
    for (const shape of [[2, 1, 1, 1, 5, 7], [1, 1, 3, 2, 5, 7]]) {
      await checkMask(three, shape, "f32");
    }
    for (const shape of [[2, 1, 3, 1, 5, 7], [1, 2, 1, 2, 1, 7], [2, 2, 1, 1, 1, 7]]) {
      await checkMask(wide, shape, "f32");
    }
  });

  it("does not copy a mask that is the same along the first or the last leading axes", () => {
    const [L, bytes] = [64, 2 * 3 * 64 * 8 * 4];
    using x = device.zeros([2, 3, 1, L, 8]);
    for (const shape of [[L, L], [2, 1, 1, L, L], [1, 3, 1, L, L], [2, 3, 1, L, L]]) {
      using attnMask = device.zeros(shape);
      const before = device.memory().allocatedBytes;
      device.resetPeakMemory();
      scaledDotProductAttention(x, x, x, { attnMask }).dispose();
      assertEquals(device.memory().peakBytes - before, bytes, `mask [${shape}]`);
    }
  });

  it("takes the masks of memoryEfficientAttention", async () => {
    const causal: Bias = (index) => index.at(-1)! <= index.at(-2)! ? 0 : -Infinity;
    await check(SHAPES["[N, H, L, E]"], { attnMask: new LowerTriangularMask() }, causal);
    await check(SHAPES["[L, E]"], { attnMask: new LowerTriangularMask() }, causal);
  });

  it("shares key heads with enableGqa: head h reads floor(h / (Hq / H))", async () => {
    for (const keyHeads of [1, 2, 3, 6]) {
      const key = [2, keyHeads, 7, 8];
      await check([[2, 6, 5, 8], key, key], { enableGqa: true });
      await checkMask([[2, 6, 5, 8], key, key], [2, 6, 5, 7], "bool", { enableGqa: true });
    }
    await check([[6, 5, 8], [2, 7, 8], [2, 7, 8]], { enableGqa: true });
    const nested = [[2, 3, 4, 5, 8], [2, 3, 2, 7, 8], [2, 3, 2, 7, 8]] as const;
    await check(nested, { enableGqa: true });
    await checkMask(nested, [2, 1, 4, 5, 7], "f32", { enableGqa: true });
  });

  it("gives 0 for a query that may see no key", async () => {
    using q = device.randn([1, 2, 3, 4], { seed: 1 });
    using attnMask = device.tensor([[true], [false], [true]]);
    using out = scaledDotProductAttention(q, q, q, { attnMask });
    const rows = await out.data();
    for (let i = 0; i < 6; i++) {
      const isZero = rows.slice(4 * i, 4 * i + 4).every((x) => x === 0);
      assertEquals(isZero, i % 3 === 1, `row ${i}`);
    }
  });

  it("takes axes of size 0", async () => {
    for (const shape of [[0, 2, 3, 4], [2, 0, 3, 4], [2, 2, 0, 4], [2, 2, 3, 0], [0, 4]]) {
      using x = device.zeros(shape);
      using out = scaledDotProductAttention(x, x, x);
      assertEquals(out.shape, shape);
      assertEquals((await out.data()).length, 0);
    }
    using q = device.ones([2, 3, 4]);
    using none = device.zeros([2, 0, 4]);
    using out = scaledDotProductAttention(q, none, none);
    assertEquals((await out.data()).every((x) => x === 0), true);
  });

  it("drops the same weights for the same seed, whatever the op", async () => {
    using q = device.randn([2, 3, 40, 8], { seed: 1 });
    const run = async (options: ScaledDotProductAttentionOptions) => {
      using out = scaledDotProductAttention(q, q, q, { dropoutP: 0.4, ...options });
      return await out.data();
    };
    const first = await run({ seed: 5 });
    assertEquals(await run({ seed: 5 }), first);
    assertNotEquals(await run({ seed: 6 }), first);
    // Rounding differs between the ops, as it does without dropout; a different mask would show at 0.1.
    assertAllClose(await run({ seed: 5, op: MathForwardOp }), first, { atol: 1e-5, rtol: 0 });
    assertNotEquals(await run({ seed: 5, dropoutP: 0 }), first);
  });

  it("copies no input and leaves nothing behind but its result", async () => {
    using q = device.randn([2, 4, 32, 8], { seed: 1 });
    using packed = device.randn([2, 32, 4, 8], { seed: 2 });
    using k = packed.permute([0, 2, 1, 3]);
    const before = device.memory().allocatedBytes;
    device.resetPeakMemory();
    await assertNoLeak(device, () => scaledDotProductAttention(q, k, k).dispose());
    assertEquals(device.memory().peakBytes - before, 2 * 4 * 32 * 8 * 4);
  });
});

describe("scaledDotProductAttention() refuses", () => {
  const throws = (
    shapes: readonly (readonly number[])[],
    options: ScaledDotProductAttentionOptions,
    kind: typeof TypeError | typeof RangeError,
    message: string,
  ) => {
    const [q, k, v] = shapes.map((shape) => device.zeros(shape)) as [Tensor, Tensor, Tensor];
    assertThrows(() => scaledDotProductAttention(q, k, v, options), kind, message);
    for (const tensor of [q, k, v]) tensor.dispose();
  };
  const same = [[2, 3, 5, 8], [2, 3, 7, 8], [2, 3, 7, 8]];

  it("sizes that disagree, with the shapes", () => {
    throws([[8], [8], [8]], {}, TypeError, "equal ranks of 2 or more: [N, ..., H, L, E]");
    throws([[5, 8], [1, 7, 8], [7, 8]], {}, TypeError, "key [1, 7, 8] and value [7, 8]");
    throws(same.with(1, [1, 3, 7, 8]), {}, RangeError, "along the axes before the heads");
    throws(same.with(1, [2, 3, 7, 4]), {}, RangeError, "query and key to have one head dim");
    throws(same.with(2, [2, 3, 6, 8]), {}, RangeError, "key and value to have one length");
    throws(same.with(2, [2, 1, 7, 8]), {}, RangeError, "key and value to have as many heads");
  });

  it("head counts that differ, and names enableGqa", () => {
    const shared = [[2, 6, 5, 8], [2, 3, 7, 8], [2, 3, 7, 8]];
    throws(
      shared,
      {},
      RangeError,
      "query has 6 heads and key 3, expected as many; enableGqa: true",
    );
    const uneven = shared.with(0, [2, 4, 5, 8]);
    throws(uneven, { enableGqa: true }, RangeError, "query has 4 heads and key 3");
  });

  it("masks that do not fit", () => {
    using wide = device.zeros([5, 8]);
    throws(same, { attnMask: wide }, RangeError, "attnMask has shape [5, 8], expected one that");
    using whole = device.tensor([1, 2, 3, 4, 5, 6, 7], { dtype: "i32" });
    throws(same, { attnMask: whole }, TypeError, "attnMask has dtype i32, expected bool");
    using deep = device.zeros([1, 2, 3, 5, 7]);
    throws(same, { attnMask: deep }, RangeError, "broadcasts to [2, 3, 5, 7]");
    const number = 3 as unknown as Tensor;
    throws(
      same,
      { attnMask: number },
      TypeError,
      "attnMask is 3, expected a Tensor or a mask",
    );
  });

  it("isCausal together with attnMask, and probabilities that are none", () => {
    using attnMask = device.zeros([5, 7]);
    throws(
      same,
      { attnMask, isCausal: true },
      RangeError,
      "attnMask is given and isCausal is true",
    );
    throws(same, { dropoutP: 1.5 }, RangeError, "dropoutP is 1.5, expected a probability");
  });
});
