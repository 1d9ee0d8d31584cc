/**
 * What is different where there is no Deno: kernels are not chosen by measurement, results are mapped in
 * the ordinary way, and what is missing is told in other words. `browser.ts` runs this in a page, and
 * `tests/node/node.ts` in Node.
 */
import {
  DeviceLostError,
  GpuUnavailableError,
  memoryEfficientAttention,
  requestDevice,
} from "@denoformers/attention";
import {
  assert,
  assertEquals,
  assertMatch,
  assertRejects,
  assertStringIncludes,
} from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { runtimeOf } from "../../gpu/device.ts";

/** Puts something else in the place of `navigator.gpu` while a function runs. */
async function withGpu(gpu: unknown, fn: () => Promise<void>): Promise<void> {
  const { navigator } = globalThis;
  const own = Object.getOwnPropertyDescriptor(navigator, "gpu");
  Object.defineProperty(navigator, "gpu", { value: gpu, configurable: true });
  try {
    await fn();
  } finally {
    // In browsers the property is that of the prototype.
    if (own) Object.defineProperty(navigator, "gpu", own);
    else Reflect.deleteProperty(navigator, "gpu");
  }
}

describe("a device without Deno", () => {
  it("finds no Deno", () => {
    assert(!("Deno" in globalThis));
  });

  it("names the program and its version", async () => {
    using device = await requestDevice();
    assertMatch(device.info.runtime, /^(Chrome|Node) \d+/);
  });

  it("uses subgroups where they are granted, which takes a directive in each kernel", async () => {
    using device = await requestDevice({ tune: false });
    const isGranted = runtimeOf(device).gpu.features.has("subgroups");
    assertEquals(device.info.subgroupSize > 0, isGranted);
  });

  it("uses its usual kernels, though tuning is on", async () => {
    using device = await requestDevice();
    assert(!runtimeOf(device).readback.canReadSync, "waits within a call are for Deno alone");
    using query = device.randn([1, 40, 2, 16], { seed: 1 });
    using out = memoryEfficientAttention(query, query, query);
    assert((await out.data()).every(Number.isFinite));
    const sources = device.tuning().map(({ source }) => source);
    assert(sources.every((source) => source === "default"), `chosen by ${sources}`);
  });

  it("reads many results at once, each right", async () => {
    using device = await requestDevice({ tune: false });
    const tensors = Array.from({ length: 20 }, (_, i) => device.full([100 * i + 1], i));
    const results = await Promise.all(tensors.map((tensor) => tensor.data()));
    assertEquals(
      results.map((data) => [data.length, data.at(0), data.at(-1)]),
      tensors.map((_, i) => [100 * i + 1, i, i]),
    );
  });

  it("reads a tensor that is larger than its staging buffers", async () => {
    using device = await requestDevice({ tune: false });
    using large = device.arange(0, 17 * 2 ** 20, 1, { dtype: "i32" }); // 68 MiB; a staging buffer has 64.
    const data = await large.data();
    assertEquals([data.length, data[0], data.at(-1)], [17 * 2 ** 20, 0, 17 * 2 ** 20 - 1]);
  });

  it("rejects with GpuUnavailableError where there is no WebGPU", async () => {
    await withGpu(undefined, async () => {
      const error = await assertRejects(() => requestDevice(), GpuUnavailableError);
      assertMatch(error.message, /WebGPU is not available in (Chrome|Node) \d+/);
      assertStringIncludes(error.message, "a browser with WebGPU on a secure (https) page");
    });
  });

  it("rejects with GpuUnavailableError where there is no adapter", async () => {
    await withGpu({ requestAdapter: () => Promise.resolve(null) }, async () => {
      await assertRejects(() => requestDevice(), GpuUnavailableError, "found no adapter");
    });
    using device = await requestDevice({ tune: false });
    assertEquals(await device.tensor([1, 2]).sum().item(), 3);
  });

  it("rejects reads with DeviceLostError after its loss; a new one works", async () => {
    using device = await requestDevice({ tune: false });
    const pending = device.randn([500, 500]).matmul(device.randn([500, 500])).data();
    runtimeOf(device).gpu.destroy();
    await assertRejects(() => pending, DeviceLostError);
    await assertRejects(() => device.sync(), DeviceLostError);
    using next = await requestDevice({ tune: false });
    assertEquals(await next.ones([3]).sum().item(), 3);
  });
});
