/** Devices on which results would be wrong or kernels would not compile: each is refused, with the reason. */
import { GpuUnavailableError, requestDevice } from "@denoformers/attention";
import { assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { told } from "../../gpu/checks.ts";

const LEAST = {
  maxStorageBuffersPerShaderStage: 8,
  maxComputeWorkgroupStorageSize: 16_384,
  maxComputeInvocationsPerWorkgroup: 256,
} as const;

/** The devices that were requested while a function ran. */
async function requestedBy(fn: () => Promise<unknown>): Promise<GPUDevice[]> {
  const devices: GPUDevice[] = [];
  const original = GPUAdapter.prototype.requestDevice;
  GPUAdapter.prototype.requestDevice = async function (descriptor) {
    const device = await original.call(this, descriptor);
    devices.push(device);
    return device;
  };
  try {
    await fn();
  } finally {
    GPUAdapter.prototype.requestDevice = original;
  }
  return devices;
}

/** Whether a device is lost now; one that was destroyed is. */
async function isLost(device: GPUDevice): Promise<boolean> {
  const later = new Promise<false>((resolve) => setTimeout(() => resolve(false), 1000));
  return await Promise.race([device.lost.then(() => true), later]);
}

describe("requestDevice()", () => {
  it("refuses limits below those that kernels rely on, and sizes that are none", async () => {
    for (const [name, least] of Object.entries(LEAST)) {
      for (const value of [least - 1, 0, -1, NaN, `${least}` as unknown as number]) {
        await assertRejects(
          () => requestDevice({ tune: false, limits: { [name]: value } }),
          RangeError,
          `Cannot request a device: limits.${name} is ${
            told(value)
          }, expected at least ${least}, ` +
            "as every WebGPU device has",
        );
      }
    }
    for (const name of ["maxBufferSize", "maxComputeWorkgroupsPerDimension"]) {
      for (const value of [0, -1, NaN, null as unknown as number]) {
        await assertRejects(
          () => requestDevice({ tune: false, limits: { [name]: value } }),
          RangeError,
          `Cannot request a device: limits.${name} is ${value}, expected at least 1`,
        );
      }
    }
  });

  it("refuses a driver that ends loops early, as Mesa 22.3 does, and gives its device back", async () => {
    // Debian 12's own Mesa cannot be fetched everywhere that tests run, so its cap is written into the
    // shader: no invocation has more than 65,535 turns in all.
    const original = GPUDevice.prototype.createShaderModule;
    let capped = 0;
    GPUDevice.prototype.createShaderModule = function (descriptor) {
      const code = descriptor.code.replace(/< (params\.turns);/, "< min($1, 65535u);");
      if (code !== descriptor.code) capped++;
      return original.call(this, { ...descriptor, code });
    };
    try {
      const devices = await requestedBy(async () => {
        const error = await assertRejects(
          () => requestDevice({ tune: false }),
          GpuUnavailableError,
          "silently ends loops after 65,535 turns",
        );
        assertStringIncludes((error as Error).message, "Mesa 24.0 and older do this");
      });
      assertEquals(capped, 1);
      assertEquals(await Promise.all(devices.map(isLost)), [true]);
    } finally {
      GPUDevice.prototype.createShaderModule = original;
    }
    using device = await requestDevice({ tune: false });
    using x = device.ones([3]);
    assertEquals(await x.sum().item(), 3, "the next device is sound");
  });
});
