/** Memory that runs out: for real on SwiftShader, and allocation by allocation on every driver. */
import {
  type Device,
  GpuOutOfMemoryError,
  memoryEfficientAttention,
  requestDevice,
  type Tensor,
  tidy,
} from "@denoformers/attention";
import { runtimeOf } from "../../gpu/device.ts";
import {
  assert,
  assertEquals,
  assertGreater,
  assertRejects,
  assertStringIncludes,
} from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { fetchSwiftShader } from "../drivers/swiftshader.ts";
import { FailingMemory } from "./_failing_memory.ts";
import { runProgram } from "./_program.ts";

const hasSwiftShader = Deno.build.os === "linux" && Deno.build.arch === "x86_64";

describe("a driver without memory", () => {
  it("makes each call fail by itself, and works on when there is room again", {
    ignore: !hasSwiftShader,
  }, async () => {
    // Its memory is the process's data, which a limit ends soon. Mesa's driver would take the whole machine's.
    const icd = await fetchSwiftShader();
    const { code, values, text } = await runProgram("tests/faults/programs/out_of_memory.ts", [], {
      env: { VK_DRIVER_FILES: icd, VK_ICD_FILENAMES: icd },
    });
    assertEquals(code, 0, text);
    const outcomes = new Map(values.map((value) => [value.name as string, value]));
    const failing = ["fill", "factory", "upload", "elementwise", "attention", "backward"];
    for (const name of [...failing, "read-back", "sync"]) {
      const { error, message } = outcomes.get(name)!;
      assertEquals(error, "GpuOutOfMemoryError", `${name}: ${text}`);
      for (const part of ["Adapter: SwiftShader", "live tensors", "the largest buffer asked for"]) {
        assertStringIncludes(`${message}`, part);
      }
      assertStringIncludes(`${message}`, "Use smaller tensors, dispose those no longer needed");
      if (name !== "fill") assertEquals(outcomes.get(`${name}: kept`)!.result, [1, 2, 3], name);
    }
    // Every value is 1, so its mean is.
    assertEquals(outcomes.get("afterwards")!.result, [1, 1, 1, 1], text);
    const { error } = outcomes.get("upload to what is there")!;
    assert(error === "GpuOutOfMemoryError" || error === "DeviceLostError", text);
    assertEquals(outcomes.get("another device")!.result, 4, text);
  });
});

/** What takes memory, each with a result to read. */
const USES: Record<string, (device: Device, inputs: Tensor[]) => Promise<unknown>> = {
  "an upload": (device) => device.tensor(new Float32Array(5000).fill(2)).data(),
  "a chain of operations": (_, [x]) =>
    tidy(() => x!.add(1).matmul(x!.transpose(1, 2)).softmax().sum()).data(),
  "attention": (_, [q, k, v]) =>
    memoryEfficientAttention(q!.detach(), k!.detach(), v!.detach()).data(),
  "a backward pass": async (_, [q, k, v]) => {
    for (const input of [q!, k!, v!]) input.zeroGrad();
    tidy(() => memoryEfficientAttention(q!, k!, v!).sum().backward());
    return await q!.grad!.data();
  },
  "a read-back": (_, [x]) => x!.data(),
  "a wait": (device) => device.sync(),
};

describe("an allocation that fails", () => {
  for (const [name, use] of Object.entries(USES)) {
    it(`in ${name} is GpuOutOfMemoryError at the await, wherever it is, and nothing stays broken`, async () => {
      using device = await requestDevice({ tune: false });
      const memory = new FailingMemory(runtimeOf(device).gpu);
      const inputs = [1, 2, 3].map((seed) =>
        device.randn([16, 8, 12], { seed, requiresGrad: true })
      );
      using kept = device.tensor([1, 2, 3]);
      const expected = await use(device, inputs);
      let failures = 0;
      for (let number = 0;; number++) {
        device.emptyCache();
        memory.failAt(number);
        try {
          await use(device, inputs);
        } catch (error) {
          assert(error instanceof GpuOutOfMemoryError, `allocation ${number}: ${error}`);
          assertStringIncludes(error.message, "no room");
          failures++;
        }
        const { made } = memory;
        memory.failAt(Infinity);
        assertEquals(await kept.data(), new Float32Array([1, 2, 3]), `allocation ${number}`);
        // With what lies idle now: none of it may be a buffer that never got its memory.
        assertEquals(await use(device, inputs), expected, `allocation ${number}`);
        if (made <= number) break;
        assertEquals(failures, number + 1, `allocation ${number} was missed`);
      }
      assertGreater(failures, 0);
    });
  }

  it("while a device is requested is an error of ours", async () => {
    const adapter = await navigator.gpu.requestAdapter();
    const prototype = Object.getPrototypeOf(adapter);
    const { requestDevice: original } = prototype;
    try {
      for (let number = 0; number < 4; number++) {
        prototype.requestDevice = async function (descriptor: GPUDeviceDescriptor) {
          const gpu = await original.call(this, descriptor);
          new FailingMemory(gpu, false).failAt(number);
          return gpu;
        };
        await assertRejects(() => requestDevice({ tune: false }), GpuOutOfMemoryError, "no room");
      }
    } finally {
      prototype.requestDevice = original;
    }
    using device = await requestDevice({ tune: false });
    using x = device.tensor([1]);
    assertEquals(await x.item(), 1);
  });
});
