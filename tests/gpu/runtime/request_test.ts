import { GpuUnavailableError, requestDevice } from "@denoformers/attention";
import { runsLongLoops } from "../../../gpu/runtime/probes.ts";
import type { Runtime } from "../../../gpu/runtime/runtime.ts";
import { runtimeOf } from "../../../gpu/device.ts";
import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { sharedDevice } from "../../_device.ts";

/** Runs a function while `navigator.gpu` is something else. */
async function withGpu<T>(gpu: unknown, fn: () => Promise<T>): Promise<T> {
  Object.defineProperty(navigator, "gpu", { value: gpu, configurable: true });
  try {
    return await fn();
  } finally {
    Reflect.deleteProperty(navigator, "gpu");
  }
}

describe("requestDevice()", () => {
  it("rejects with GpuUnavailableError where there is no WebGPU", async () => {
    const error = await withGpu(
      undefined,
      () => assertRejects(() => requestDevice(), GpuUnavailableError),
    );
    assertStringIncludes(error.message, `WebGPU is not available in Deno ${Deno.version.deno}`);
    assertStringIncludes(error.message, "Use Deno 2.9 or later, or a browser with WebGPU");
    assertEquals(error.name, "GpuUnavailableError");
  });

  it("rejects with GpuUnavailableError and a remedy where there is no adapter", async () => {
    const gpu = { requestAdapter: () => Promise.resolve(null) };
    const error = await withGpu(
      gpu,
      () => assertRejects(() => requestDevice(), GpuUnavailableError),
    );
    assertStringIncludes(error.message, "No GPU is available: navigator.gpu.requestAdapter()");
    if (Deno.build.os === "linux") assertStringIncludes(error.message, "apt install");
  });

  it("rejects with the adapter's reason where it gives no device", async () => {
    const adapter = await navigator.gpu.requestAdapter();
    assert(adapter);
    const gpu = {
      requestAdapter: () =>
        Promise.resolve({
          info: adapter.info,
          limits: adapter.limits,
          features: new Set(),
          requestDevice: () => Promise.reject(new Error("all taken")),
        }),
    };
    const error = await withGpu(
      gpu,
      () => assertRejects(() => requestDevice(), GpuUnavailableError),
    );
    assertStringIncludes(error.message, "gives no device: Error: all taken");
  });

  it("does without subgroups where the adapter refuses them", async () => {
    const requested: (readonly string[])[] = [];
    const gpu = {
      requestAdapter: async (options: GPURequestAdapterOptions) => {
        const adapter = await navigatorGpu.requestAdapter(options);
        assert(adapter);
        return {
          info: adapter.info,
          limits: adapter.limits,
          features: new Set<string>(),
          requestDevice: (descriptor: GPUDeviceDescriptor) => {
            const features = [...descriptor.requiredFeatures ?? []] as string[];
            requested.push(features);
            if (features.includes("subgroups")) return Promise.reject(new Error("unknown feature"));
            return adapter.requestDevice(descriptor);
          },
        };
      },
    };
    const navigatorGpu = navigator.gpu;
    using device = await withGpu(gpu, () => requestDevice());
    assertEquals(requested, [["subgroups"], []]);
    const { subgroupSize, f16, timestamps } = device.info;
    assertEquals([subgroupSize, f16, timestamps], [0, false, false]);
    using x = device.ones([3]);
    assertEquals(await x.sum().item(), 3);
    const { result, milliseconds, kernels } = await device.profile(() => x.add(1));
    result.dispose();
    assertEquals([milliseconds, kernels], [NaN, []]);
  });

  it("asks for the adapter that is wanted, then for one that computes on the CPU", async () => {
    const asked: unknown[] = [];
    const gpu = {
      requestAdapter: (options: unknown) => {
        asked.push(options);
        return Promise.resolve(null);
      },
    };
    await withGpu(gpu, async () => {
      await assertRejects(() => requestDevice(), GpuUnavailableError);
      const options = { powerPreference: "low-power", forceFallbackAdapter: true } as const;
      await assertRejects(() => requestDevice(options), GpuUnavailableError);
    });
    assertEquals(asked, [
      { powerPreference: "high-performance", forceFallbackAdapter: false },
      { powerPreference: "high-performance", forceFallbackAdapter: true },
      { powerPreference: "low-power", forceFallbackAdapter: true },
    ]);
  });
});

describe("runsLongLoops()", () => {
  it("is true of the driver at hand, which would have been refused otherwise", async () => {
    assertEquals(await runsLongLoops(runtimeOf(await sharedDevice())), true);
  });

  it("is false of a driver that ends loops early", async () => {
    const stuck = {
      memory: { acquire: () => ({ release: () => {} }) },
      kernels: { dispatch: () => {} },
      download: () => Promise.resolve(new Uint32Array([12345]).buffer),
    };
    assertEquals(await runsLongLoops(stuck as unknown as Runtime), false);
  });
});
