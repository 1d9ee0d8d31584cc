/**
 * What users complain of on WebGPU: limits, memory, determinism, halves, drivers; and that it does not
 * happen here. Numbers are those of the threads. The other complaints are in `complaints_test.ts`.
 */
import {
  type Device,
  FlashForwardOp,
  GpuUnavailableError,
  GpuValidationError,
  LowerTriangularMask,
  memoryEfficientAttention,
  memoryEfficientAttentionForwardRequiresGrad,
  mergeAttentions,
  PagedBlockDiagonalPaddedKeysMask,
  requestDevice,
  SplitKForwardOp,
  type Tensor,
} from "@denoformers/attention";
import { arrayOf } from "../../gpu/tensor/base.ts";
import {
  assertEquals,
  assertGreater,
  assertLessOrEqual,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { sharedDevice } from "../_device.ts";
import { assertMatchesReference, bmhk } from "./_compare.ts";
import { keptFactor } from "./_places.ts";

const device = await sharedDevice();

describe("complaints about limits and memory", () => {
  it("7. 65,536 sequences or heads and more are right (xformers#845, onnxruntime#21687)", async () => {
    const count = 65_537;
    for (const [B, H] of [[count, 1], [1, count]] as const) {
      // Of two keys one is hidden, so each output is a value of its own sequence and head.
      using q = device.zeros([B, 1, H, 1]);
      using k = device.zeros([B, 2, H, 1]);
      const values = Float32Array.from({ length: 2 * count }, (_, at) => at);
      using v = device.tensor(values, { shape: [B, 2, H, 1] });
      using out = memoryEfficientAttention(q, k, v, { attnBias: new LowerTriangularMask() });
      const first = Float32Array.from({ length: count }, (_, at) => B === 1 ? at : 2 * at);
      assertEquals(await out.data(), first);
    }
  });

  it("14. beyond the binding limit results are right, or an error names it (tfjs#6507)", async () => {
    const limit = 2 ** 16;
    using small = await requestDevice({
      tune: false,
      limits: { maxStorageBufferBindingSize: limit },
    });
    // 76,800 bytes each of query, key and value, and 1.4 MB of scores.
    const sizes = [1, 600, 600, 1, 32, 32] as const;
    await assertMatchesReference(small, bmhk(sizes, { padded: false }));
    using q = small.tensor(new Float32Array(64), { shape: [1, 2, 1, 32] });
    using pool = small.tensor(new Float32Array(600 * 32), { shape: [1, 600, 1, 32] });
    const attnBias = PagedBlockDiagonalPaddedKeysMask.fromSeqlens([2], [20], [[7]], 20);
    assertThrows(
      () => memoryEfficientAttention(q, pool, pool, { attnBias }),
      RangeError,
      "key lies in a buffer of 76800 bytes > 65536, the device's maxStorageBufferBindingSize",
    );
  });

  it("14. 200 calls leave nothing behind (transformers.js#860, tfjs#8570)", async () => {
    using own = await requestDevice({ tune: false });
    using q = own.randn([1, 40, 2, 16], { seed: 1 });
    const attend = () => {
      const { out, lse } = memoryEfficientAttentionForwardRequiresGrad(q, q, q, { p: 0.1 });
      out.dispose();
      lse.dispose();
    };
    attend();
    await own.sync();
    const before = own.memory();
    for (let call = 0; call < 200; call++) {
      attend();
      if (call % 50 === 49) await own.sync();
    }
    const { allocatedBytes, buffers, tensors, peakBytes, reservedBytes } = own.memory();
    assertEquals(
      [allocatedBytes, buffers, tensors, peakBytes],
      [before.allocatedBytes, before.buffers, before.tensors, before.peakBytes],
    );
    // The driver's own: buffers of parameters, a few of 64 KiB at most, and none for each call.
    assertLessOrEqual(reservedBytes - before.reservedBytes, 2 ** 20);
  });
});

describe("complaints about results that change", () => {
  it("11. the same call gives the same bits, on another device too (xformers#618, #1128)", async () => {
    const run = async (on: Device) => {
      using q = on.randn([2, 130, 4, 24], { seed: 1 });
      using k = on.randn([2, 300, 2, 24], { seed: 2 });
      const options = { attnBias: new LowerTriangularMask(), p: 0.3, seed: 5 };
      const { out, lse } = memoryEfficientAttentionForwardRequiresGrad(q, k, k, options);
      const results = [await out.data(), await lse.data()].map((x) => Float32Array.from(x));
      out.dispose();
      lse.dispose();
      return results;
    };
    const first = await run(device);
    for (let again = 0; again < 5; again++) assertEquals(await run(device), first);
    using other = await requestDevice({ tune: false });
    assertEquals(await run(other), first);
  });

  it("15. f16 whose scores and sums exceed f16 gives no NaN (onnxruntime#26367, #22983)", async () => {
    const [N, K] = [4096, 64];
    // Scores are 64 * 250^2 = 4,000,000 and its negative; the greatest f16 is 65,504.
    const signs = Float32Array.from(
      { length: 5 * K },
      (_, at) => Math.floor(at / K) === 3 ? 250 : -250,
    );
    using q = device.full([1, 1, 1, K], 250, { dtype: "f16" });
    using k = device.tensor(signs, { shape: [1, 5, 1, K], dtype: "f16" });
    const numbers = Float32Array.from({ length: 5 * K }, (_, at) => at);
    using v = device.tensor(numbers, { shape: [1, 5, 1, K], dtype: "f16" });
    using out = memoryEfficientAttention(q, k, v, { scale: 1 });
    assertEquals(await out.data(), numbers.slice(3 * K, 4 * K));
    // The sum of 4096 values is 245,760,000; their mean is a value.
    using keys = device.zeros([1, N, 1, K], { dtype: "f16" });
    using large = device.full([1, N, 1, K], 60_000, { dtype: "f16" });
    using mean = memoryEfficientAttention(q, keys, large);
    assertEquals(await mean.data(), new Float32Array(K).fill(60_000));
  });
});

describe("complaints about NaN that drivers lose", () => {
  // Drivers have exp2(NaN) = inf and log2(NaN) = 128, and a max() that takes the number beside a NaN.
  it("a NaN that is seen shows in output and log-sum-exp, even if it is dropped", async () => {
    const [N, K, p, seed] = [8, 16, 0.5, 3];
    const kept = Array.from({ length: N }, (_, key) => {
      return keptFactor(p, seed, 0, { block: 0, row: 0, key, queries: 1, keys: N });
    });
    using q = device.randn([1, 1, 1, K], { seed: 1 });
    using v = device.randn([1, N, 1, K], { seed: 2 });
    for (const op of [FlashForwardOp, SplitKForwardOp]) {
      for (const at of [kept.indexOf(0), kept.findIndex((factor) => factor > 0)]) {
        const numbers = new Float32Array(N * K).fill(NaN, at * K, (at + 1) * K);
        using k = device.tensor(numbers, { shape: [1, N, 1, K] });
        const { out, lse } = memoryEfficientAttentionForwardRequiresGrad(q, k, v, { p, seed, op });
        const isLost = async (tensor: Tensor) => !(await tensor.data()).every(Number.isNaN);
        assertEquals(await isLost(out), false, `output of ${op.name}, key ${at}`);
        assertEquals(await isLost(lse), false, `lse of ${op.name}, key ${at}`);
        const merged = mergeAttentions([out, v.slice(1, 0, 1)], [lse, device.zeros([1, 1, 1])]);
        assertEquals([await isLost(merged.out), await isLost(merged.lse!)], [false, false]);
      }
    }
  });
});

describe("complaints about adapters and Deno", () => {
  it("13. an adapter that computes on the CPU will do (diffusers#1892)", async () => {
    await assertMatchesReference(device, bmhk([1, 33, 40, 2, 16, 16]));
    let cpu: Device;
    try {
      cpu = await requestDevice({ tune: false, forceFallbackAdapter: true });
    } catch (error) {
      // There is a GPU and nothing else: the error says what to install.
      if (!(error instanceof GpuUnavailableError)) throw error;
      assertEquals(device.info.isFallback, false, "this device computes on the CPU");
      assertGreater(error.message.split("\n").length, 1, error.message);
      return;
    }
    assertEquals(cpu.info.isFallback, true);
    await assertMatchesReference(cpu, bmhk([1, 33, 40, 2, 16, 16]));
    cpu.dispose();
  });

  it("16. what is too large throws at the call, with sizes, before any allocation (deno#35195)", async () => {
    using small = await requestDevice({ tune: false, limits: { maxBufferSize: 2 ** 16 } });
    using q = small.zeros([1, 2048, 1, 4]);
    using k = small.zeros([1, 4, 1, 4]);
    using v = small.zeros([1, 4, 1, 16]);
    const before = small.memory();
    const { message } = assertThrows(() => memoryEfficientAttention(q, k, v), RangeError);
    assertStringIncludes(message, "a tensor of shape [1, 2048, 1, 16] and dtype f32");
    assertStringIncludes(message, "it takes 131072 bytes, the device's maxBufferSize is 65536");
    assertEquals(small.memory(), before);
    await small.sync();
  });

  it("16. what the GPU refuses rejects at the await, with adapter and memory (deno#24806)", async () => {
    using own = await requestDevice({ tune: false });
    using q = own.randn([1, 8, 1, 16], { seed: 1 });
    await own.sync();
    arrayOf(q).storage.buffer.destroy(); // As a driver would that has lost it.
    using out = memoryEfficientAttention(q, q, q);
    const { message } = await assertRejects(() => out.data(), GpuValidationError);
    assertStringIncludes(message, own.info.adapter);
    assertEquals(/\d+ bytes/.test(message), true, message);
  });

  it("16. f16 tensors need no shader-f16, and no kernel asks for it (deno#23125)", async () => {
    const sources: string[] = [];
    const { createShaderModule } = GPUDevice.prototype;
    GPUDevice.prototype.createShaderModule = function (descriptor) {
      sources.push(descriptor.code);
      return createShaderModule.call(this, descriptor);
    };
    try {
      using own = await requestDevice({ tune: false });
      sources.length = 0; // Tests of the driver.
      await assertMatchesReference(own, bmhk([1, 33, 40, 2, 16, 16], { dtype: "f16" }));
    } finally {
      GPUDevice.prototype.createShaderModule = createShaderModule;
    }
    assertGreater(sources.length, 0);
    for (const source of sources) assertEquals(/\bf16\b/.test(source), false, source);
  });
});
