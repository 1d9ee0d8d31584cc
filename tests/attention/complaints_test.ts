/**
 * What users of attention libraries complain of, and that it does not happen here: layout, errors, masks,
 * biases, heads. Numbers are those of the threads. Limits, memory and drivers are in
 * `complaints_webgpu_test.ts`.
 */
import {
  alibiSlopes,
  BlockDiagonalMask,
  BlockDiagonalPaddedKeysMask,
  memoryEfficientAttention,
  memoryEfficientAttentionForwardRequiresGrad,
  MultiheadAttention,
  requestDevice,
  scaledDotProductAttention,
  type Tensor,
  tidy,
} from "@denoformers/attention";
import { assertAllClose } from "@denoformers/attention/testing";
import {
  assertEquals,
  assertLess,
  assertNotEquals,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { sharedDevice } from "../_device.ts";
import { assertMatchesReference, bmhk } from "./_compare.ts";

const device = await sharedDevice();

/** Outputs are averages of numbers below 6 in 24 bits, which two ways of adding them differ by. */
const CLOSE = { atol: 4e-6, rtol: 2e-5 };

/** Query, key and value of these shapes, different numbers each. */
function randoms(...shapes: number[][]): Tensor[] {
  return shapes.map((shape, i) => device.randn(shape, { seed: i + 1 }));
}

/** What a function computes, read back; all its tensors are disposed. */
async function read(compute: () => Tensor): Promise<{ shape: number[]; data: Float32Array }> {
  using result = tidy(compute);
  return { shape: [...result.shape], data: Float32Array.from(await result.data()) };
}

describe("complaints about layout and errors", () => {
  it("1. tokens attend to tokens and not heads to heads (xformers#761, pytorch#152257)", async () => {
    const [B, M, H, K] = [1, 7, 3, 8];
    using x = device.randn([B, M, H, K], { seed: 1 });
    using bump = device.tensor(new Float32Array(M * H * K).fill(1, 0, K), { shape: [B, M, H, K] });
    const before = await read(() => memoryEfficientAttention(x, x, x));
    const after = await read(() =>
      tidy(() => {
        const y = x.add(bump); // Token 0 of head 0 alone.
        return memoryEfficientAttention(y, y, y);
      })
    );
    for (let row = 0; row < M * H; row++) {
      const slice = ({ data }: typeof before) => data.slice(row * K, (row + 1) * K);
      const check = row % H === 0 ? assertNotEquals : assertEquals;
      check(slice(after), slice(before), `token ${Math.floor(row / H)}, head ${row % H}`);
    }
    // PyTorch's layout has a function of its own; a bias for the one layout is refused by the other.
    const heads = await read(() => {
      const y = x.transpose(1, 2);
      return scaledDotProductAttention(y, y, y).transpose(1, 2).contiguous();
    });
    assertEquals(heads, before);
    using bias = device.zeros([B, H, M, M]);
    using wrong = x.transpose(1, 2);
    assertThrows(
      () => memoryEfficientAttention(wrong, wrong, wrong, { attnBias: bias }),
      RangeError,
      "expected one that broadcasts to [1, 7, 3, 3] (B, H, Mq, Mkv)",
    );
  });

  it("2. where no op fits, a short text says why, each reason on a line (xformers#576)", async () => {
    using small = await requestDevice({
      tune: false,
      limits: { maxStorageBufferBindingSize: 2 ** 16 },
    });
    using row = small.zeros([1, 31, 1, 520]);
    using x = row.expand([20, 31, 1, 520]);
    const { message } = assertThrows(() => memoryEfficientAttention(x, x, x), RangeError);
    const lines = message.split("\n");
    assertLess(lines.length, 20);
    assertEquals(lines[0], "Cannot run memoryEfficientAttention: no op supports these inputs:");
    for (const op of ["`flashF`", "`splitKF`"]) {
      const at = lines.indexOf(`${op} is not supported because:`);
      assertEquals(lines[at + 1], "    head dim K = 520 > 512");
    }
    assertStringIncludes(message, "query: shape [20, 31, 1, 520], dtype f32");
    assertStringIncludes(message, "bytes > 65536, the device's maxStorageBufferBindingSize");
    // One wrong argument is no matter of ops.
    using half = x.to("f16");
    const wrong = assertThrows(() => memoryEfficientAttention(x, half, x), TypeError);
    assertEquals(wrong.message.split("\n").length, 1);
  });
});

describe("complaints about biases", () => {
  it("3. a bias needs no alignment: 13 keys, sliced, transposed (xformers#683)", async () => {
    const [B, M, N, H, K] = [2, 5, 13, 3, 8];
    const [q, k, v] = randoms([B, M, H, K], [B, N, H, K], [B, N, H, K]) as [Tensor, Tensor, Tensor];
    using large = device.randn([B, H, 14, 31], { seed: 4 });
    const views: [string, (x: Tensor) => Tensor][] = [
      ["sliced", (x) => x.slice(2, 1, 1 + M).slice(3, 3, 3 + N)],
      ["every other key", (x) => x.slice(2, 0, M).slice(3, 1, 1 + 2 * N, 2)],
      ["transposed", (x) => x.slice(3, 2, 2 + M).slice(2, 1, 1 + N).transpose(2, 3)],
    ];
    for (const dtype of ["f32", "f16"] as const) {
      for (const [name, view] of views) {
        const attend = (copy: boolean) =>
          read(() => {
            const bias = view(large.to(dtype));
            return memoryEfficientAttention(q, k, v, { attnBias: copy ? bias.clone() : bias });
          });
        assertEquals(await attend(false), await attend(true), `${dtype} ${name}`);
      }
    }
    await assertMatchesReference(device, bmhk([B, M, N, H, K, K], { bias: [B, H, M, N] }));
  });

  it("4. a bias broadcasts, may be bool, and may have long rows (xformers#854, onnxruntime#26766)", async () => {
    const [B, M, H, K] = [2, 9, 3, 8];
    const [q, k, v] = randoms([B, M, H, K], [B, M, H, K], [B, M, H, K]) as [Tensor, Tensor, Tensor];
    for (const shape of [[1, H, M, M], [B, 1, 1, M], [M, M], [H, 1, 1]]) {
      using bias = device.randn(shape, { seed: 5 });
      using seen = bias.gt(0);
      using added = seen.to("f32").log(); // 0 and -inf
      const attend = (make: () => Tensor) =>
        read(() => memoryEfficientAttention(q, k, v, { attnBias: make() }));
      const full = [B, H, M, M];
      assertEquals(await attend(() => bias), await attend(() => bias.expand(full).clone()));
      assertEquals(await attend(() => seen), await attend(() => added.expand(full).clone()));
      assertNotEquals(await attend(() => bias), await attend(() => seen));
    }
    // Each of two rows sees one key of 12,289.
    const N = 12_289;
    using keys = device.randn([1, N, 1, K], { seed: 6 });
    using row = device.randn([1, 2, 1, K], { seed: 7 });
    const seen = new Uint8Array(2 * N).fill(1, 0, 1).fill(1, 2 * N - 1);
    using attnBias = device.tensor(seen, { shape: [2, N], dtype: "bool" });
    const { data } = await read(() => memoryEfficientAttention(row, keys, keys, { attnBias }));
    const all = await read(() => keys.clone());
    assertEquals(data, Float32Array.from([...all.data.slice(0, K), ...all.data.slice(-K)]));
  });
});

describe("complaints about NaN", () => {
  it("5. a row whose bias is all -inf gives 0, and others are as without it (pytorch#103963)", async () => {
    const [M, K] = [6, 8];
    const [q, k, v] = randoms([1, M, 1, K], [1, M, 1, K], [1, M, 1, K]) as [Tensor, Tensor, Tensor];
    using attnBias = device.tensor(
      Float32Array.from({ length: M * M }, (_, at) => Math.floor(at / M) === 2 ? -Infinity : 0),
      { shape: [M, M] },
    );
    const { out, lse } = memoryEfficientAttentionForwardRequiresGrad(q, k, v, { attnBias });
    const data = await out.data();
    const plain = await read(() => memoryEfficientAttention(q, k, v));
    assertAllClose(data.slice(0, 2 * K), plain.data.slice(0, 2 * K), CLOSE);
    assertEquals(data.slice(2 * K, 3 * K), new Float32Array(K));
    assertAllClose(data.slice(3 * K), plain.data.slice(3 * K), CLOSE);
    assertEquals((await lse.data())[2], -Infinity);
  });

  it("6. NaN in keys and values that a mask hides stays there (pytorch#101967)", async () => {
    const [slot, K] = [8, 8];
    const lengths = [5, 0, 8, 1];
    const rows = await read(() => device.randn([1, 4 * slot, 1, K], { seed: 1 }));
    const poisoned = rows.data.map((x, at) => {
      const row = Math.floor(at / K);
      return row % slot < lengths[Math.floor(row / slot)]! ? x : NaN;
    });
    using q = device.randn([1, 8, 1, K], { seed: 2 });
    const attnBias = BlockDiagonalPaddedKeysMask.fromSeqlens([2, 2, 2, 2], slot, lengths);
    const attend = (data: Float32Array) =>
      read(() => {
        const keys = device.tensor(data, { shape: rows.shape });
        return memoryEfficientAttention(q, keys, keys, { attnBias });
      });
    const clean = await attend(rows.data);
    assertEquals(clean.data.every(Number.isFinite), true);
    assertEquals(await attend(poisoned), clean);
  });
});

describe("complaints about masks that are missing", () => {
  it("8. padded batches by a bool mask, unequal lengths by packing (xformers#679, #732)", async () => {
    const [H, K] = [2, 8];
    const lengths = [5, 9, 3];
    const sequences = lengths.map((M, i) => device.randn([1, M, H, K], { seed: i + 1 }));
    const expected = await Promise.all(
      sequences.map((x) => read(() => memoryEfficientAttention(x, x, x))),
    );
    // Packed one after the other.
    const [mask, packed] = BlockDiagonalMask.fromTensorList(sequences);
    using out = memoryEfficientAttention(packed, packed, packed, { attnBias: mask });
    for (const [i, part] of mask.split(out).entries()) {
      assertAllClose(await read(() => part.clone()), expected[i]!, CLOSE);
    }
    // Padded with NaN to one length, with a mask [B, 1, 1, Mkv] of the keys that are there.
    const longest = Math.max(...lengths);
    const padded = new Float32Array(3 * longest * H * K).fill(NaN);
    for (const [i, x] of sequences.entries()) padded.set(await x.data(), i * longest * H * K);
    using batch = device.tensor(padded, { shape: [3, longest, H, K] });
    const there = lengths.map((M) => Array.from({ length: longest }, (_, j) => j < M));
    using attnBias = device.tensor(there.flat(), { shape: [3, 1, 1, longest], dtype: "bool" });
    using whole = memoryEfficientAttention(batch, batch, batch, { attnBias });
    for (const [i, M] of lengths.entries()) {
      const part = await read(() => whole.slice(0, i, i + 1).slice(1, 0, M).clone());
      assertAllClose(part, expected[i]!, CLOSE);
    }
  });

  it("9. any mask as a bool tensor, and ALiBi without one (flash-attn#17, xformers#700)", async () => {
    const sizes = [2, 21, 34, 3, 8, 8] as const;
    await assertMatchesReference(device, bmhk(sizes, { bias: [2, 3, 21, 34], boolean: true }));
    const [M, H, prefix] = [12, 4, 5];
    const [q, k, v] = randoms([1, M, H, 8], [1, M, H, 8], [1, M, H, 8]) as [Tensor, Tensor, Tensor];
    // A prefix that all see, then causal: the last key is seen by the last query alone.
    const seen = Array.from({ length: M * M }, (_, at) => {
      const [i, j] = [Math.floor(at / M), at % M];
      return j < prefix || j <= i;
    });
    using attnBias = device.tensor(seen, { shape: [M, M], dtype: "bool" });
    const attend = (end: number) =>
      read(() => {
        const [keys, values] = [k, v].map((x) => x.slice(1, 0, end));
        return memoryEfficientAttention(q, keys!, values!, { attnBias: attnBias.slice(1, 0, end) });
      });
    const [all, without] = [(await attend(M)).data, (await attend(M - 1)).data];
    const last = (M - 1) * H * 8;
    assertAllClose(all.slice(0, last), without.slice(0, last), CLOSE);
    assertNotEquals(all.slice(last), without.slice(last));

    const slopes = alibiSlopes(H);
    const distances = Float32Array.from(
      { length: H * M * M },
      (_, at) => -slopes[Math.floor(at / M / M)]! * Math.abs(Math.floor(at / M) % M - at % M),
    );
    using bias = device.tensor(distances, { shape: [H, M, M] });
    assertAllClose(
      await read(() => memoryEfficientAttention(q, k, v, { alibiSlopes: slopes })),
      await read(() => memoryEfficientAttention(q, k, v, { attnBias: bias })),
      CLOSE,
    );
  });
});

describe("complaints about heads and weights", () => {
  it("10. heads share keys without memory for copies of them (xformers#838, #937)", async () => {
    const [M, K] = [64, 16];
    for (const Hkv of [1, 2]) {
      const [q, k, v] = randoms([1, M, 8, K], [1, M, Hkv, K], [1, M, Hkv, K]) as Tensor[];
      const before = device.memory().allocatedBytes;
      device.resetPeakMemory();
      using out = memoryEfficientAttention(q!, k!, v!);
      assertEquals(device.memory().peakBytes - before, M * 8 * K * 4, "more than the result");
      const repeated = await read(() => {
        const repeat = (x: Tensor) =>
          x.unsqueeze(3).expand([1, M, Hkv, 8 / Hkv, K]).reshape([1, M, 8, K]);
        return memoryEfficientAttention(q!, repeat(k!), repeat(v!));
      });
      assertEquals(Float32Array.from(await out.data()), repeated.data);
    }
  });

  it("12. attention weights are the attention to an identity matrix (xformers#730, #1190)", async () => {
    const [B, M, N, H, K] = [2, 5, 7, 2, 8];
    const [q, k, v] = randoms([B, M, H, K], [B, N, H, K], [B, N, H, K]) as [Tensor, Tensor, Tensor];
    const eye = Float32Array.from({ length: N * N }, (_, at) => at % (N + 1) === 0 ? 1 : 0);

    using identity = device.tensor(eye, { shape: [1, N, 1, N] }).expand([B, N, H, N]);
    using weights = memoryEfficientAttention(q, k, identity); // [B, Mq, H, Mkv]

    const sums = await read(() => weights.sum({ axis: -1 }));
    assertAllClose(sums.data, new Float32Array(B * M * H).fill(1), CLOSE);
    const product = await read(() => {
      return weights.transpose(1, 2).matmul(v.transpose(1, 2)).transpose(1, 2).contiguous();
    });
    assertAllClose(product, await read(() => memoryEfficientAttention(q, k, v)), CLOSE);
    // The layer gives them itself, averaged over heads.
    const layer = new MultiheadAttention(device, 16, 2, { batchFirst: true, seed: 1 });
    using x = device.randn([B, M, 16], { seed: 2 });
    const attended = layer.forward(x, x, x);
    assertEquals(attended.weights!.shape, [B, M, M]);
    const whole = await read(() => attended.weights!.sum({ axis: -1 }));
    assertAllClose(whole.data, new Float32Array(B * M).fill(1), CLOSE);
  });
});
