/**
 * Watches what reaches the GPU: every shader, buffer, binding and dispatch is held against limits that no driver at
 * hand has, and of which Deno checks workgroup memory on none. What it finds is independent of the library's sums.
 */
import type { Device } from "@denoformers/attention";
import { assertEquals, assertGreater } from "@std/assert";
import { resourcesOf } from "./_wgsl.ts";

type Limits = Device["info"]["limits"];

/** What was seen while a function ran. */
export interface Watched<T> {
  /** What the function gave. */
  readonly result: T;
  /** The source of every module that was compiled. */
  readonly modules: readonly string[];
}

/** `GPUBufferUsage.STORAGE`. */
const STORAGE = 0x80;

/** Methods that are replaced for a while, by the prototype that they are on. */
type Replace = <T extends object, Name extends keyof T>(
  prototype: T,
  name: Name,
  check: (...args: unknown[]) => void,
) => void;

/**
 * Runs a function and asserts that nothing that it did on any device went over the limits.
 *
 * @param limits Of the smallest device that is used meanwhile.
 */
export async function withinLimits<T>(
  limits: Limits,
  fn: () => T | Promise<T>,
): Promise<Watched<T>> {
  const excesses = new Set<string>();
  const modules: string[] = [];
  const check = (value: number, limit: keyof Limits, what: string) => {
    if (value > limits[limit]) excesses.add(`${what}: ${value} > ${limits[limit]}, ${limit}`);
  };
  const undo: (() => void)[] = [];
  const replace: Replace = (prototype, name, look) => {
    const original = prototype[name] as unknown as (...args: unknown[]) => unknown;
    const replacement = function (this: unknown, ...args: unknown[]) {
      look(...args);
      return original.apply(this, args);
    };
    prototype[name] = replacement as unknown as typeof prototype[typeof name];
    undo.push(() => prototype[name] = original as unknown as typeof prototype[typeof name]);
  };
  replace(GPUDevice.prototype, "createShaderModule", (descriptor) => {
    const { code, label } = descriptor as GPUShaderModuleDescriptor;
    if (!code.includes("fn main")) return; // A probe that is made to fail.
    modules.push(code);
    const { workgroupBytes, storageBuffers, threads } = resourcesOf(code);
    check(workgroupBytes, "maxComputeWorkgroupStorageSize", `workgroup memory of ${label}`);
    check(storageBuffers, "maxStorageBuffersPerShaderStage", `storage buffers of ${label}`);
    check(threads, "maxComputeInvocationsPerWorkgroup", `threads of ${label}`);
  });
  replace(GPUDevice.prototype, "createBuffer", (descriptor) => {
    const { size, label } = descriptor as GPUBufferDescriptor;
    check(size, "maxBufferSize", `bytes of a buffer, ${label}`);
  });
  replace(GPUDevice.prototype, "createBindGroup", (descriptor) => {
    for (const { resource } of (descriptor as GPUBindGroupDescriptor).entries) {
      const { buffer, offset = 0, size } = resource as GPUBufferBinding;
      if ((buffer.usage & STORAGE) === 0) continue;
      check(size ?? buffer.size - offset, "maxStorageBufferBindingSize", "bytes of a binding");
    }
  });
  replace(GPUComputePassEncoder.prototype, "dispatchWorkgroups", (...counts) => {
    for (const count of counts as number[]) {
      check(count, "maxComputeWorkgroupsPerDimension", "workgroups along a dimension");
    }
  });
  try {
    const result = await fn();
    assertEquals([...excesses], [], "what went over the limits");
    assertGreater(modules.length, 0, "the watch saw no shader, so it proves nothing");
    return { result, modules };
  } finally {
    for (const restore of undo) restore();
  }
}
