/** Half-precision storage through every op: layouts, head dims, biases, outputs, extremes, refusals. */
import {
  FlashForwardOp,
  LowerTriangularMask,
  MathForwardOp,
  memoryEfficientAttention,
  SplitKForwardOp,
} from "@denoformers/attention";
import { assertEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { sharedDevice } from "../_device.ts";
import { beyondCore } from "../_extent.ts";
import { forwardOpsOn } from "./_ops.ts";
import { assertMatchesReference, bmhk, type FloatName, UPSTREAM_OF } from "./_compare.ts";

const device = await sharedDevice();
const HALVES = ["f16", "bf16"] as const;
const FLOATS = ["f32", ...HALVES] as const;

describe("attention on halves", () => {
  // Rows as vec4, rows that start anywhere, rows that end within a word, and single elements.
  const layouts = [
    [16, 16, false],
    [6, 5, true],
    ...beyondCore([16, 16, true], [5, 1, true], [1, 6, true]),
  ] as const;
  for (const [K, Kv, padded] of layouts) {
    it(`takes K = ${K}, Kv = ${Kv}${padded ? " between NaN" : ""}`, async () => {
      for (const dtype of HALVES) {
        for (const op of forwardOpsOn(device)) {
          // One row keeps splitKF's kernels short, which takes some seconds off their compilation.
          const Mq = op === SplitKForwardOp ? 1 : 9;
          await assertMatchesReference(device, bmhk([2, Mq, 21, 2, K, Kv], { op, dtype, padded }));
        }
      }
    });
  }

  it("gives any float type whatever the inputs'", async () => {
    for (const dtype of FLOATS) {
      for (const outputDtype of FLOATS) {
        const rest = { dtype, outputDtype, padded: false };
        const sizes = [1, 9, 21, 2, 8, 8] as const;
        await assertMatchesReference(device, bmhk(sizes, { ...rest, op: MathForwardOp }));
        if (dtype === outputDtype) continue; // As everywhere else.
        await assertMatchesReference(device, bmhk(sizes, { ...rest, op: FlashForwardOp }));
      }
    }
  });

  it("gives another type from splitKF, of one part and of several", async () => {
    for (const [dtype, outputDtype] of [["f32", "f16"], ["f16", "bf16"]] as const) {
      for (const Mkv of [21, 600]) {
        const rest = { op: SplitKForwardOp, dtype, outputDtype, padded: false };
        await assertMatchesReference(device, bmhk([1, 1, Mkv, 2, 8, 6], rest));
      }
    }
  });

  it("adds biases of any type to queries of any type", async () => {
    // mathF converts the two apart from each other; flashF has a kernel for each pair, of which these
    // have every type on both sides, and two decoders at once.
    const compiled = ["f32 f16", "f16 bf16", "f16 bool", "bf16 f32"];
    for (const dtype of FLOATS) {
      for (const biasDtype of [...FLOATS, "bool"] as const) {
        const isBool = biasDtype === "bool";
        const type = isBool ? { boolean: true } : { biasDtype: biasDtype as FloatName };
        const rest = { dtype, bias: [2, 9, 21], ...type };
        await assertMatchesReference(
          device,
          bmhk([1, 9, 21, 2, 8, 8], { ...rest, op: MathForwardOp }),
        );
        if (!compiled.includes(`${dtype} ${biasDtype}`)) continue;
        await assertMatchesReference(
          device,
          bmhk([1, 9, 21, 2, 8, 8], { ...rest, op: FlashForwardOp }),
        );
      }
    }
    await assertMatchesReference(
      device,
      bmhk([1, 2, 300, 2, 8, 8], {
        op: SplitKForwardOp,
        dtype: "f16",
        biasDtype: "bf16",
        bias: [300],
      }),
    );
  });

  it("reads views of a packed qkv, and axes that are not dense", async () => {
    for (const dtype of HALVES) {
      using qkv = device.randn([2, 17, 3, 2, 8], { seed: 3 }).to(dtype);
      using wide = device.randn([2, 17, 8, 2], { seed: 4 }).to(dtype);
      const swapped = wide.permute([0, 1, 3, 2]); // [B, M, H, K], K with a stride of 2
      for (const views of [qkv.unbind(2), [swapped, swapped, swapped]]) {
        const copies = views.map((view) => view.clone());
        for (const op of [FlashForwardOp, MathForwardOp]) {
          using out = memoryEfficientAttention(views[0]!, views[1]!, views[2]!, { op });
          using expected = memoryEfficientAttention(copies[0]!, copies[1]!, copies[2]!, { op });
          assertEquals(await out.data(), await expected.data());
        }
      }
    }
  });
});

it("attention meets upstream's tolerances on upstream's inputs, of standard deviation 3", async () => {
  for (const dtype of FLOATS) {
    for (const mask of [undefined, new LowerTriangularMask()]) {
      const rest = { dtype, spread: 3, padded: false, ...(mask ? { mask } : {}) };
      for (const op of [FlashForwardOp, MathForwardOp]) {
        await assertMatchesReference(
          device,
          bmhk([2, 65, 129, 2, 16, 16], { op, ...rest }),
          UPSTREAM_OF[dtype],
        );
      }
    }
    const rest = { dtype, spread: 3, padded: false, op: SplitKForwardOp };
    await assertMatchesReference(device, bmhk([2, 8, 600, 2, 16, 16], rest), UPSTREAM_OF[dtype]);
  }
});

for (const op of forwardOpsOn(device)) {
  describe(`${op.name} at the ends of the ranges`, () => {
    it("adds products far beyond f16 as f32", async () => {
      // Scores are multiples of 200 * 200 * 2 / 8 = 10,000 up to 320,000, so that one weight is 1.
      const [M, K] = [9, 64];
      const signs = (row: number, d: number) => d < K - 4 * row ? 200 : -200;
      const values = Array.from({ length: M * K }, (_, at) => signs(Math.floor(at / K), at % K));
      using k = device.tensor(values, { shape: [1, M, 1, K], dtype: "f16" });
      using q = device.tensor(
        Array.from({ length: 2 * K }, (_, at) => at < K ? 200 : -200),
        { shape: [1, 2, 1, K], dtype: "f16" },
      );
      using out = memoryEfficientAttention(q, k, k, { op });
      // The first query is most like the first key, the second like the last.
      assertEquals([...await out.data()], [...values.slice(0, K), ...values.slice(-K)]);
    });

    it("gives infinity in f16 for what f16 cannot hold, and rounds what it can", async () => {
      using q = device.zeros([1, 1, 1, 4]);
      using v = device.tensor([1e5, -1e5, 65519, 65504], { shape: [1, 1, 1, 4] });
      using out = memoryEfficientAttention(q, q, v, { op, outputDtype: "f16" });
      assertEquals([...await out.data()], [Infinity, -Infinity, 65504, 65504]);
    });

    it("keeps subnormal halves", async () => {
      // The least f16 is 2^-24; those of bf16 are subnormal as f32 too, which drivers may take for 0.
      const least = [2 ** -24, -(2 ** -24), 3 * 2 ** -24, 2 ** -15];
      using q = device.zeros([1, 1, 1, 4], { dtype: "f16" });
      using v = device.tensor(least, { shape: [1, 1, 1, 4], dtype: "f16" });
      using out = memoryEfficientAttention(q, q, v, { op });
      assertEquals([...await out.data()], least);
    });
  });
}

it("memoryEfficientAttention() refuses mixed and whole-number dtypes, and prints all three", () => {
  const zeros = (dtype: FloatName | "i32" | "bool") => device.zeros([1, 2, 1, 4], { dtype });
  const mixed = [
    ["f16", "f32", "f16"],
    ["f32", "f32", "bf16"],
    ["f16", "bf16", "bf16"],
    ["i32", "i32", "i32"],
    ["f32", "i32", "f32"],
    ["bool", "bool", "bool"],
  ] as const;
  for (const [query, key, value] of mixed) {
    const [q, k, v] = [zeros(query), zeros(key), zeros(value)];
    assertThrows(
      () => memoryEfficientAttention(q, k, v),
      TypeError,
      `dtypes are ${query}, ${key} and ${value}, expected all f32, f16 or bf16, convert with .to(`,
    );
    for (const tensor of [q, k, v]) tensor.dispose();
  }
  using q = zeros("f16");
  assertThrows(
    () => memoryEfficientAttention(q, q, q, { outputDtype: "i32" }),
    TypeError,
    'outputDtype is "i32", expected f32, f16 or bf16',
  );
});
