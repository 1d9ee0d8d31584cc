/** Gradients by the flash kernels against the float64 reference: sizes, ranks, heads, layouts. */
import {
  FlashBackwardOp,
  LowerTriangularFromBottomRightMask,
  memoryEfficientAttention,
  memoryEfficientAttentionBackward,
  memoryEfficientAttentionForwardRequiresGrad,
  requestDevice,
  type Tensor,
  tidy,
} from "@denoformers/attention";
import { assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { sharedDevice } from "../_device.ts";
import { beyondCore, isCore } from "../_extent.ts";
import { bmhk } from "./_compare.ts";
import {
  assertGradientsMatchReference,
  type GradientCase,
  UPSTREAM_GRADIENTS,
} from "./_compare_gradients.ts";

const device = await sharedDevice();
const op = [undefined, FlashBackwardOp] as const;

/** The head dims of most cases: each pair is compiled for three to seven seconds on CPU drivers. */
const [K, Kv] = [4, 4];

const check = (testCase: GradientCase, ...rest: [] | [typeof UPSTREAM_GRADIENTS.f32]) =>
  assertGradientsMatchReference(device, { op, ...testCase }, ...rest);

describe("FlashBackwardOp agrees with the reference", () => {
  it("on lengths around the tiles'", async () => {
    for (const Mq of [1, 2, 15, 33, 130]) {
      for (const Mkv of [1, 2, 15, 33, 130]) await check(bmhk([2, Mq, Mkv, 2, K, Kv]));
    }
  });

  // Less than a vec4, parts of one, odd rows, whole vec4s of every lane, and more values than keys.
  const headDims = [[1, 3, true], [31, 20, true], ...beyondCore([64, 64, false], [80, 4, true])];
  for (const [K, Kv, padded] of headDims) {
    it(`on head dims K = ${K}, Kv = ${Kv}`, async () => {
      for (const [Mq, Mkv] of [[1, 33], [33, 2], [70, 45]] as const) {
        await check(bmhk([2, Mq, Mkv, 2, +K!, +Kv!], { padded: padded as boolean }));
      }
    });
  }

  it("on head dims of which a thread holds one row", async () => {
    // Few values keep the kernels short, which take over ten seconds to compile otherwise.
    await check(bmhk([1, 9, 45, 2, 132, 4]));
  });

  it("on 3-D inputs, and on 5-D ones", async () => {
    await check({ query: [3, 17, K], key: [3, 9, K], value: [3, 9, Kv] });
    const [heads, keys] = [[2, 3], 9];
    await check({
      query: [2, 17, ...heads, K],
      key: [2, keys, ...heads, K],
      value: [2, keys, ...heads, Kv],
    });
  });

  it("where query heads share keys and values, or only one of the two", async () => {
    const mask = new LowerTriangularFromBottomRightMask();
    for (const shared of [1, 2, 3]) {
      const [key, value] = [[2, 19, shared, K], [2, 19, shared, Kv]] as const;
      await check({ query: [2, 35, 6, K], key, value });
      await check({ query: [2, 35, 6, K], key, value, mask });
    }
    for (const [keyHeads, valueHeads] of [[1, 1], [1, 3], [3, 1]] as const) {
      await check({
        query: [2, 35, 2, 3, K],
        key: [2, 19, 2, keyHeads, K],
        value: [2, 19, 2, valueHeads, Kv],
      });
    }
  });

  it("for incoming gradients that are views, or one row or number for all", async () => {
    for (const upstream of ["padded", "row", "scalar"] as const) {
      await check({ ...bmhk([2, 33, 15, 2, K, Kv]), upstream });
    }
  });

  it("with the gradient of the log-sum-exp too, also of rows without keys", async () => {
    for (const mask of [undefined, new LowerTriangularFromBottomRightMask()]) {
      const sizes = bmhk([2, 33, 15, 2, K, Kv]);
      await check({ ...sizes, ...(mask ? { mask } : {}), lseGradient: true });
    }
  });

  it("for scales of 0, below 0 and above 1", async () => {
    for (const scale of [0, -0.7, 1.5]) await check(bmhk([1, 33, 15, 2, K, Kv], { scale }));
  });

  it("on upstream's inputs, of standard deviation 3", async () => {
    const spread = 3;
    for (const [Mq, Mkv] of [[32, 64], [65, 129]] as const) {
      // As upstream has it: with the default scale, scores of few dims are too large to be computed again.
      const scale = (1 / 32) ** 0.5;
      await check(bmhk([2, Mq, Mkv, 2, K, Kv], { spread, scale }), UPSTREAM_GRADIENTS.f32);
      const rest = { spread, padded: false };
      await check(bmhk([2, Mq, Mkv, 2, 64, 64], rest), UPSTREAM_GRADIENTS.f32);
    }
  });

  it("where a size is 0", async () => {
    const sizes = [
      [2, 0, 5, 2, K, Kv],
      [2, 5, 0, 2, K, Kv],
      [0, 5, 5, 2, K, Kv],
      [2, 5, 5, 0, K, Kv],
      [2, 0, 0, 2, K, Kv],
    ] as const;
    for (const [B, Mq, Mkv, H, K, Kv] of sizes) {
      await check(bmhk([B, Mq, Mkv, H, K, Kv]));
    }
    await check(bmhk([1, 3, 5, 2, 0, Kv], { padded: false }));
  });

  it("for more heads than a dispatch has workgroups along one axis", async () => {
    await check(bmhk([1, 1, 2, 65_537, K, Kv]));
  });

  it("without subgroups", { ignore: isCore }, async () => {
    using plain = await requestDevice({ tune: false, subgroups: false });
    assertEquals(plain.info.subgroupSize, 0);
    const sizes = [2, 37, 53, 2, K, Kv] as const;
    const mask = new LowerTriangularFromBottomRightMask();
    for (const rest of [{ mask, bias: [1, 2, 37, 53] }, { p: 0.3 }]) {
      await assertGradientsMatchReference(plain, { op, ...bmhk(sizes, rest) });
    }
  });

  it("where no query head shares the keys", async () => {
    const result = tidy(() => {
      const idle = [1, 2].map(() => device.full([1, 5, 2, K], NaN));
      idle.forEach((tensor) => tensor.dispose()); // What the gradients are going to be written to.
      const [q, k, grad] = [[1, 3, 0, K], [1, 5, 2, K], [1, 3, 0, K]].map((s) => device.zeros(s));
      const { out, lse } = memoryEfficientAttentionForwardRequiresGrad(q!, k!, k!);
      return memoryEfficientAttentionBackward(grad!, out, lse, q!, k!, k!, { op: op[1] });
    });
    for (const gradient of [result.dKey, result.dValue]) {
      assertEquals([...await gradient.data()], new Array(10 * K).fill(0));
      gradient.dispose();
    }
    result.dQuery.dispose();
  });
});

describe("autograd of attention", () => {
  /** Sums of the gradients of views as those of what they are views of. */
  const gradientsOf = async (make: (leaf: Tensor) => Tensor[], shape: number[]) => {
    const leaf = device.randn(shape, { seed: 5, requiresGrad: true });
    tidy(() => {
      const [q, k, v] = make(leaf) as [Tensor, Tensor, Tensor];
      const out = memoryEfficientAttention(q, k, v, { op });
      out.backward(device.randn(out.shape, { seed: 6 }));
    });
    const data = await leaf.grad!.data();
    leaf.dispose();
    return data;
  };

  it("gives a packed qkv tensor the gradients of its slices", async () => {
    const shape = [2, 17, 3, 2, K];
    const packed = await gradientsOf((qkv) => qkv.unbind(2), shape);
    const copied = await gradientsOf((qkv) => qkv.unbind(2).map((view) => view.clone()), shape);
    assertEquals(packed, copied);
  });

  it("gives expanded heads the sum of what each head gets", async () => {
    const shape = [2, 17, 1, K];
    const make = (copy: (tensor: Tensor) => Tensor) => (leaf: Tensor) => {
      const heads = copy(leaf.expand([2, 17, 3, K]));
      return [leaf.expand([2, 17, 3, K]), heads, heads];
    };
    const expanded = await gradientsOf(make((tensor) => tensor), shape);
    assertEquals(expanded, await gradientsOf(make((tensor) => tensor.clone()), shape));
  });

  it("gives gradients to those inputs alone that require them", async () => {
    const shapes = [[2, 9, 2, K], [2, 7, 2, K], [2, 7, 2, Kv]];
    const run = async (wanted: readonly boolean[]) => {
      const leaves = shapes.map((shape, n) =>
        device.randn(shape, { seed: n + 1, requiresGrad: wanted[n]! })
      );
      tidy(() => {
        const out = memoryEfficientAttention(leaves[0]!, leaves[1]!, leaves[2]!, { op });
        out.backward(device.randn(out.shape, { seed: 6 }));
      });
      const grads = await Promise.all(leaves.map((leaf) => leaf.grad?.data()));
      leaves.forEach((leaf) => leaf.dispose());
      return grads;
    };
    const all = await run([true, true, true]);
    for (const only of [0, 1, 2]) {
      const wanted = [0, 1, 2].map((n) => n === only);
      assertEquals(await run(wanted), all.map((grad, n) => n === only ? grad : undefined));
    }
  });
});
