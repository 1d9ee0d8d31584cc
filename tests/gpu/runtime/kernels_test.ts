import { type Device, requestDevice } from "@denoformers/attention";
import { runtimeOf } from "../../../gpu/device.ts";
import { type Binding, BINDING_ALIGNMENT, type Kernel } from "../../../gpu/runtime/kernels.ts";
import type { Storage } from "../../../gpu/runtime/memory.ts";
import { paramStruct } from "../../../gpu/runtime/params.ts";
import { assertEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { sharedDevice } from "../../_device.ts";

const device = await sharedDevice();
const LIMIT = 4096;
const small = await requestDevice({ tune: false, limits: { maxStorageBufferBindingSize: LIMIT } });

const PARAMS = paramStruct({ words: "u32" });
/** out[i] = a[i] + 1 for as many words as both bindings show. */
const KERNEL: Kernel = {
  label: "increment",
  bindings: ["read", "write"],
  source: PARAMS.wgsl + /* wgsl */ `
@group(0) @binding(0) var<storage, read> a: array<u32>;
@group(0) @binding(1) var<storage, read_write> out: array<u32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  if (id.x < min(params.words, min(arrayLength(&a), arrayLength(&out)))) { out[id.x] = a[id.x] + 1u; }
}
`,
};

function increment(device: Device, storages: readonly Binding[], words: number): void {
  const params = PARAMS.pack({ words });
  const workgroups = Math.ceil(words / 64);
  runtimeOf(device).kernels.dispatch(KERNEL, { storages, params, workgroups });
}

/** Runs a test with two storages of so many words: 0, 1, 2... and zeros. */
async function withStorages(
  device: Device,
  words: number,
  fn: (a: Storage, out: Storage) => unknown,
): Promise<void> {
  const runtime = runtimeOf(device);
  const [a, out] = [0, 1].map(() => runtime.memory.acquire(4 * words, "a test"));
  runtime.upload(a!, new Uint8Array(Uint32Array.from({ length: words }, (_, i) => i).buffer));
  runtime.upload(out!, new Uint8Array(4 * words));
  try {
    await fn(a!, out!);
  } finally {
    a!.release();
    out!.release();
  }
}

describe("KernelCache.dispatch()", () => {
  it("shows a kernel no more than the range that is bound", async () => {
    await withStorages(device, 1024, async (a, out) => {
      const ranges = [
        { storage: a, offset: 2 * BINDING_ALIGNMENT, size: 40 },
        { storage: out, offset: BINDING_ALIGNMENT, size: 44 },
      ];
      increment(device, ranges, 1024);
      const result = new Uint32Array(await runtimeOf(device).download(out, 4096));
      const expected = new Uint32Array(1024);
      for (let i = 0; i < 10; i++) expected[64 + i] = 128 + i + 1;
      assertEquals(result, expected);
    });
  });

  it("binds ranges of storages larger than the limit", async () => {
    await withStorages(small, 2100, async (a, out) => {
      for (const [offset, size] of [[0, LIMIT], [LIMIT, LIMIT], [2 * LIMIT, 208]] as const) {
        const ranges = [a, out].map((storage) => ({ storage, offset, size }));
        increment(small, ranges, 1024);
      }
      const result = new Uint32Array(await runtimeOf(small).download(out, 4 * 2100));
      assertEquals(result, Uint32Array.from({ length: 2100 }, (_, i) => i + 1));
    });
  });

  it("throws RangeError for a whole storage or a range above the limit, and enqueues nothing", async () => {
    await withStorages(small, 1028, async (a, out) => {
      const fitting = { storage: out, offset: 0, size: LIMIT };
      const text = 'Cannot run kernel "increment": a binding takes 4112 bytes, the device\'s ' +
        "maxStorageBufferBindingSize is 4096; split the tensor";
      assertThrows(() => increment(small, [a, fitting], 1028), RangeError, text);
      assertThrows(() => increment(small, [fitting, out], 1028), RangeError, text);
      const range = { storage: a, offset: 0, size: 4112 };
      assertThrows(() => increment(small, [range, fitting], 1028), RangeError, text);
      const result = new Uint32Array(await runtimeOf(small).download(out, 4112));
      assertEquals(result, new Uint32Array(1028));
    });
  });

  it("throws RangeError for ranges that are not aligned or leave the buffer", async () => {
    await withStorages(device, 1024, (a, out) => {
      for (const [offset, size] of [[4, 4], [128, 64], [0, 6], [0, 0], [3840, 260], [-256, 4]]) {
        const range = { storage: a, offset: offset!, size: size! };
        assertThrows(
          () => increment(device, [range, out], 1),
          RangeError,
          `a binding takes ${size} bytes from byte ${offset} of 4096`,
        );
      }
    });
  });
});
