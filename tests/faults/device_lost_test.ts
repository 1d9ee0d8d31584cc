/** A device that goes in the middle of work: destroyed beneath us, disposed, or with a driver that keeps no promise. */
import {
  AdamW,
  type Device,
  DeviceLostError,
  Linear,
  memoryEfficientAttention,
  requestDevice,
  tidy,
} from "@denoformers/attention";
import { runtimeOf } from "../../gpu/device.ts";
import { assert, assertEquals, assertLess, assertRejects, assertStringIncludes } from "@std/assert";
import { describe, it } from "@std/testing/bdd";

/** A wait for a device that is gone ends at once; a slow machine may take this long, in milliseconds. */
const AT_ONCE = 10_000;

/** How the device goes, and what our error says then. */
const ENDS: Record<string, { end: (device: Device) => void; text: string }> = {
  "destroyed beneath us": {
    end: (device) => runtimeOf(device).gpu.destroy(),
    text: "GPU device was lost (destroyed): ",
  },
  "disposed": {
    end: (device) => device.dispose(),
    text: "GPU device was disposed: create a new one with requestDevice()",
  },
};

/** What is under way as it goes. `end` is to be called once it is. */
const WORK: Record<string, (device: Device, end: () => void) => Promise<unknown>> = {
  "a read": async (device, end) => {
    const reading = device.randn([300, 300], { seed: 1 }).softmax().data();
    end();
    await reading;
    // What had been computed by then may still be read; nothing can afterwards.
    await device.sync();
  },
  "a read of several pieces at a first use of their size": async (device, end) => {
    const reading = device.full([5_000_000], 3).data();
    end();
    await reading;
    await device.sync();
  },
  "a wait": async (device, end) => {
    const waiting = device.sync();
    end();
    await waiting;
    await device.sync();
  },
  "many reads": async (device, end) => {
    const reads = [1, 2, 3].map((value) => device.full([100], value).data());
    end();
    const results = await Promise.allSettled([...reads, device.sync()]);
    for (const result of results) {
      if (result.status === "rejected") assert(result.reason instanceof DeviceLostError);
    }
    await device.sync();
  },
  "a profile": (device, end) =>
    device.profile(() => {
      const x = device.ones([50]).add(1);
      end();
      return x;
    }),
  "a training loop": async (device, end) => {
    const model = new Linear(device, 8, 8);
    const optimizer = new AdamW(model.parameters());
    for (let step = 0; step < 1000; step++) {
      const loss = tidy(() => {
        const loss = model.forward(device.ones([4, 8])).square().mean();
        loss.backward();
        optimizer.step();
        optimizer.zeroGrad();
        return loss.detach();
      });
      if (step === 3) end();
      await loss.item();
    }
  },
};

describe("a device that goes", () => {
  for (const [how, { end, text }] of Object.entries(ENDS)) {
    for (const [name, work] of Object.entries(WORK)) {
      it(`${how} during ${name} is DeviceLostError there, and another device works`, async () => {
        using device = await requestDevice({ tune: false });
        const x = device.tensor([1, 2]);
        await device.sync();
        let ended = 0;
        await assertRejects(
          () =>
            work(device, () => {
              ended = performance.now();
              end(device);
            }),
          DeviceLostError,
          text,
        );
        assertLess(performance.now() - ended, AT_ONCE);
        await assertRejects(() => x.data(), DeviceLostError, text);
        using other = await requestDevice({ tune: false });
        using y = other.tensor([1, 2]);
        assertEquals(await y.data(), new Float32Array([1, 2]));
      });
    }

    it(`${how} before a measurement ends it at once`, async () => {
      using device = await requestDevice({ tune: { cache: false, budget: 1000 } });
      const x = device.randn([1, 64, 2, 32], { seed: 1 });
      await device.sync();
      const start = performance.now();
      end(device);
      try {
        memoryEfficientAttention(x, x, x); // The news of a device's loss comes by an await alone.
      } catch (error) {
        assert(error instanceof DeviceLostError, `${error}`);
      }
      await assertRejects(() => device.sync(), DeviceLostError, text);
      // The clock that such a measurement is stopped by stands at 20 s.
      assertLess(performance.now() - start, AT_ONCE);
    });
  }
});

describe("a driver that dies", () => {
  /** A device whose driver keeps no promise from now on, and the news of its death. */
  async function dying(): Promise<{ device: Device; die: () => void }> {
    const { promise: lost, resolve } = Promise.withResolvers<GPUDeviceLostInfo>();
    const device = await withLost(lost, () => requestDevice({ tune: false }));
    const never = () => new Promise<never>(() => {});
    const { gpu } = runtimeOf(device);
    const die = () =>
      resolve({ reason: "unknown", message: "the driver died" } as unknown as GPUDeviceLostInfo);
    gpu.createBuffer = dumbBuffers(gpu.createBuffer.bind(gpu), never);
    gpu.popErrorScope = never;
    return { device, die };
  }

  it("ends every wait with its news, though no mapping and no scope ever answers", async () => {
    const { device, die } = await dying();
    const x = device.tensor([1, 2, 3]);
    const big = device.ones([100_000]);
    const waits = [x.data(), big.data(), big.format(), device.sync(), device.profile(() => {})];
    setTimeout(die, 20);
    for (const result of await Promise.allSettled(waits)) {
      assertEquals(result.status, "rejected");
      const { reason } = result as PromiseRejectedResult;
      assert(reason instanceof DeviceLostError, `${reason}`);
      assertStringIncludes(
        reason.message,
        "GPU device was lost (unknown): the driver died; request a new device and create the " +
          "tensors again. Adapter: ",
      );
    }
    await assertRejects(() => x.data(), DeviceLostError, "the driver died");
    runtimeOf(device).gpu.destroy();
  });

  it("ends every wait when the device is disposed", async () => {
    const { device } = await dying();
    const waits = [device.tensor([1]).data(), device.sync()];
    setTimeout(() => device.dispose(), 20);
    for (const result of await Promise.allSettled(waits)) {
      assert((result as PromiseRejectedResult).reason instanceof DeviceLostError);
    }
  });
});

/** Runs a function in which every device has this promise of its loss. */
async function withLost<T>(lost: Promise<GPUDeviceLostInfo>, fn: () => Promise<T>): Promise<T> {
  const prototype = GPUDevice.prototype;
  const original = Object.getOwnPropertyDescriptor(prototype, "lost")!;
  Object.defineProperty(prototype, "lost", { configurable: true, get: () => lost });
  try {
    return await fn();
  } finally {
    Object.defineProperty(prototype, "lost", original);
  }
}

/** Makes buffers whose mappings never answer. */
function dumbBuffers(
  createBuffer: GPUDevice["createBuffer"],
  never: () => Promise<never>,
): GPUDevice["createBuffer"] {
  return (descriptor) => {
    const buffer = createBuffer(descriptor);
    buffer.mapAsync = never;
    return buffer;
  };
}
