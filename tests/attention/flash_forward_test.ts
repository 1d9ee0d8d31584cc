/** The tiled kernel against the reference: sizes, head dims, masks, biases, layouts. */
import {
  FlashForwardOp,
  LowerTriangularMask,
  MathForwardOp,
  memoryEfficientAttention,
  requestDevice,
} from "@denoformers/attention";
import { assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { sharedDevice } from "../_device.ts";
import { beyondCore, isCore } from "../_extent.ts";
import { assertMatchesReference, bmhk, randomValues, UPSTREAM } from "./_compare.ts";

const device = await sharedDevice();
const causal = new LowerTriangularMask();

for (const op of [FlashForwardOp, MathForwardOp]) {
  describe(`${op.name} sizes`, () => {
    // A tile is 4 or 8 keys, a block of rows 32 to 256: each with one less and one more.
    const lengths = [1, 2, 3, 4, 5, 7, 8, 9, 31, 32, 33, 63, 64, 65, 127, 128, 129, 257];
    for (const length of lengths) {
      it(`takes ${length} queries and ${length} keys`, async () => {
        await assertMatchesReference(device, bmhk([1, length, 37, 2, 8, 8], { op }));
        await assertMatchesReference(device, bmhk([2, 29, length, 1, 8, 8], { op }));
        await assertMatchesReference(
          device,
          bmhk([1, length, length, 1, 8, 8], { op, mask: causal }),
        );
      });
    }

    it("takes axes of size 0", async () => {
      const sizes = [
        [0, 3, 4, 2, 8, 8],
        [1, 0, 4, 2, 8, 8],
        [1, 3, 0, 2, 8, 8],
        [1, 3, 4, 0, 8, 8],
        [1, 3, 4, 2, 8, 0],
        [1, 3, 4, 2, 0, 8],
        [1, 3, 0, 2, 8, 0],
      ] as const;
      for (const size of sizes) {
        await assertMatchesReference(device, bmhk(size, { op, padded: false }));
      }
    });

    it("takes causal masks of any two lengths", async () => {
      for (const [Mq, Mkv] of [[5, 300], [300, 5], [64, 65], [65, 64], [1, 40], [40, 1]] as const) {
        await assertMatchesReference(device, bmhk([1, Mq, Mkv, 2, 8, 8], { op, mask: causal }));
      }
    });
  });

  describe(`${op.name} biases`, () => {
    const [B, H, M, N] = [2, 3, 21, 34];
    const shapes = [
      [B, H, M, N],
      [1, 1, M, N],
      [B, 1, 1, N],
      [1, H, 1, N],
      [1, H, M, 1],
      [M, N],
      [N],
      [1],
    ];
    for (const bias of shapes) {
      it(`takes [${bias}] for [${[B, H, M, N]}], added and bool`, async () => {
        await assertMatchesReference(device, bmhk([B, M, N, H, 8, 8], { op, bias }));
        await assertMatchesReference(device, bmhk([B, M, N, H, 8, 8], { op, bias, boolean: true }));
      });
    }

    it("gives 0 and -inf for rows that see no key", async () => {
      using q = device.randn([1, 9, 2, 8], { seed: 1 });
      using everything = device.full([9, 9], -Infinity);
      using nothing = device.zeros([9, 9], { dtype: "bool" });
      for (const attnBias of [everything, nothing]) {
        using out = memoryEfficientAttention(q, q, q, { attnBias, op });
        assertEquals(new Set(await out.data()), new Set([0]));
      }
    });

    it("averages under a bias of the lowest float, as PyTorch does", async () => {
      using q = device.zeros([1, 2, 1, 4]);
      using v = device.tensor([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12], { shape: [1, 3, 1, 4] });
      using k = device.zeros([1, 3, 1, 4]);
      using attnBias = device.full([2, 3], -3.4028234663852886e38);
      using out = memoryEfficientAttention(q, k, v, { attnBias, op });
      const [first] = await out.data();
      assertEquals(Math.abs(first! - 5) < 1e-5, true);
    });
  });

  it(`${op.name} takes ranks 3 and 5, and fewer heads for key and value`, async () => {
    const shapes = [
      { query: [3, 17, 12], key: [3, 23, 12], value: [3, 23, 5] },
      { query: [2, 17, 2, 3, 12], key: [2, 23, 2, 3, 12], value: [2, 23, 2, 3, 8] },
      { query: [2, 17, 2, 3, 12], key: [2, 23, 2, 1, 12], value: [2, 23, 2, 1, 8] },
      { query: [2, 17, 6, 12], key: [2, 23, 2, 12], value: [2, 23, 2, 8] },
      { query: [2, 17, 6, 12], key: [2, 23, 1, 12], value: [2, 23, 1, 8] },
    ];
    for (const shape of shapes) {
      await assertMatchesReference(device, { ...shape, op });
      await assertMatchesReference(device, { ...shape, op, mask: causal });
      const full = shape.query.length === 3 ? [3, 17, 23] : [1, 6, 17, 23];
      if (shape.query.length < 5) {
        await assertMatchesReference(device, { ...shape, op, bias: full });
      }
    }
    const grouped = { ...shapes[1]!, op, bias: [2, 2, 3, 17, 23] };
    await assertMatchesReference(device, grouped);
  });

  it(`${op.name} never lets hidden NaN through`, async () => {
    const [M, K] = [40, 8];
    const values = randomValues(M * K, 5);
    // Keys and values from 20 on are NaN; causal queries before 20 must not notice.
    const poisoned = values.map((x, i) => i >= 20 * K ? NaN : x);
    using q = device.tensor(values, { shape: [1, M, 1, K] });
    using clean = device.tensor(values, { shape: [1, M, 1, K] });
    using dirty = device.tensor(poisoned, { shape: [1, M, 1, K] });
    using added = device.tensor(causal.materialize([M, M]), { shape: [M, M] });
    using bool = added.eq(0);
    for (const attnBias of [causal, added, bool]) {
      using expected = memoryEfficientAttention(q, clean, clean, { attnBias, op });
      using out = memoryEfficientAttention(q, dirty, dirty, { attnBias, op });
      const head = (await out.data()).slice(0, 20 * K);
      assertEquals(head, (await expected.data()).slice(0, 20 * K));
      const tail = (await out.data()).slice(20 * K);
      assertEquals(tail.every((x) => Number.isNaN(x)), true, "seen NaN must show");
    }
    const holes = causal.materialize([M, M]).fill(NaN, M + 1, M + 2);
    using withHole = device.tensor(holes, { shape: [M, M] });
    using out = memoryEfficientAttention(q, clean, clean, { attnBias: withHole, op });
    const [row0, row1] = [(await out.data())[0]!, (await out.data())[K]!];
    assertEquals([Number.isNaN(row0), Number.isNaN(row1)], [false, true], "a NaN bias must show");
  });
}

describe("flashF head dims", () => {
  // Each takes seconds to compile. Rows that start anywhere are read element by element...
  for (const K of [16, ...beyondCore(1, 3, 64, 88)]) {
    it(`takes K = Kv = ${K} in rows that start anywhere`, async () => {
      await assertMatchesReference(device, bmhk([1, 67, 45, 2, K, K], { op: FlashForwardOp }));
    });
  }

  // ...and those that start at multiples of 16 bytes as vec4f.
  for (const K of [16, 80, ...beyondCore(40, 64, 96, 128, 160, 256)]) {
    it(`takes K = Kv = ${K} in aligned rows`, async () => {
      const rest = { op: FlashForwardOp, padded: false };
      await assertMatchesReference(device, bmhk([1, 67, 45, 2, K, K], rest));
    });
  }

  const unequal = [[33, 20], ...beyondCore([32, 8], [8, 32], [1, 64], [64, 1])] as const;
  for (const [K, Kv] of unequal) {
    it(`takes K = ${K}, Kv = ${Kv}`, async () => {
      await assertMatchesReference(device, bmhk([2, 19, 45, 2, K, Kv], { op: FlashForwardOp }));
    });
  }
});

describe("flashF", () => {
  it("meets upstream's tolerance on upstream's inputs, of standard deviation 3", async () => {
    for (const mask of [undefined, causal]) {
      const rest = mask ? { mask, spread: 3 } : { spread: 3 };
      await assertMatchesReference(device, bmhk([2, 130, 257, 3, 64, 64], rest), UPSTREAM);
    }
    await assertMatchesReference(
      device,
      bmhk([2, 130, 257, 3, 64, 64], { bias: [2, 3, 130, 257], spread: 3 }),
      UPSTREAM,
    );
  });

  it("takes any scale, 0 and negative ones included", async () => {
    for (const scale of [0, 1, 0.1, -0.5]) {
      await assertMatchesReference(device, bmhk([1, 33, 40, 2, 8, 8], { scale }));
    }
  });

  it("reads views of a packed qkv without a copy", async () => {
    const [B, M, H, K] = [2, 33, 3, 16];
    using qkv = device.randn([B, M, 3, H, K], { seed: 3 });
    const views = qkv.unbind(2);
    const copies = views.map((view) => view.clone());
    device.resetPeakMemory();
    const before = device.memory().allocatedBytes;
    using out = memoryEfficientAttention(views[0]!, views[1]!, views[2]!);
    assertEquals(device.memory().peakBytes - before, B * M * H * K * 4);
    using expected = memoryEfficientAttention(copies[0]!, copies[1]!, copies[2]!);
    assertEquals(await out.data(), await expected.data());
    for (const tensor of [...views, ...copies]) tensor.dispose();
  });

  it("takes inputs whose last axis is not dense", async () => {
    using wide = device.randn([1, 20, 8, 2], { seed: 3 });
    using view = wide.permute([0, 1, 3, 2]); // [B, M, H, K], K with a stride of 2
    using dense = view.clone();
    using out = memoryEfficientAttention(view, view, view);
    using expected = memoryEfficientAttention(dense, dense, dense);
    assertEquals(await out.data(), await expected.data());
  });

  it("gives the same bits each time, whatever the memory held before", async () => {
    using q = device.randn([2, 100, 4, 24], { seed: 1 });
    using first = memoryEfficientAttention(q, q, q, { attnBias: causal });
    const expected = await first.data();
    for (let run = 0; run < 3; run++) {
      device.full([2, 100, 4, 24], NaN).dispose(); // Its buffer is the next result's.
      using again = memoryEfficientAttention(q, q, q, { attnBias: causal });
      assertEquals(await again.data(), expected);
    }
  });

  it("does without subgroups", { ignore: isCore }, async () => {
    using plain = await requestDevice({ tune: false, subgroups: false });
    assertEquals(plain.info.subgroupSize, 0);
    await assertMatchesReference(plain, bmhk([2, 37, 53, 2, 16, 16], { mask: causal }));
    await assertMatchesReference(plain, bmhk([2, 37, 53, 2, 16, 12], { bias: [1, 2, 37, 53] }));
  });
});
