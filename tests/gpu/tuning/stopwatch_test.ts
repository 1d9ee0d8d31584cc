import { requestDevice } from "@denoformers/attention";
import { runtimeOf } from "../../../gpu/device.ts";
import { apart, attempt, Stopwatch, waitFor } from "../../../gpu/tuning/stopwatch.ts";
import { Profiler } from "../../../gpu/runtime/profiler.ts";
import { assert, assertEquals, assertGreater, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { runBroken, spin } from "./_problems.ts";

const device = await requestDevice({ tune: { cache: false } });
const runtime = runtimeOf(device);
const { memory, readback } = runtime;

describe("Readback.readSync()", () => {
  it("reads what was enqueued, within the call, however much it is", async () => {
    for (const size of [1, 1024, 1025, 5000]) {
      using x = device.arange(size).add(1);
      const storage = memory.acquire(4 * size, "a test");
      const copied = device.tensor(await x.data());
      runtime.upload(storage, new Uint8Array((await copied.data()).buffer as ArrayBuffer));
      const bytes = readback.readSync(storage.buffer, 4 * size, 10_000);
      assertEquals(new Float32Array(bytes!), Float32Array.from({ length: size }, (_, i) => i + 1));
      copied.dispose();
      storage.release();
    }
  });

  it("works while reads by others are under way, and leaves these alone", async () => {
    using x = device.full([3000], 5);
    const reading = Promise.all([x.data(), x.sum().item(), x.data()]);
    for (let i = 0; i < 100; i++) assert(runtime.waitSync(10_000));
    const [data, sum] = await reading;
    assertEquals([data.length, sum], [3000, 15_000]);
  });

  it("gives up after its time, and for good", async () => {
    using own = await requestDevice({ tune: { cache: false } });
    const { readback, memory } = runtimeOf(own);
    const storage = memory.acquire(4096, "a test");
    // Stands for a GPU that does not get done.
    const { getMappedRange } = GPUBuffer.prototype;
    GPUBuffer.prototype.getMappedRange = () => {
      throw new Error("not yet");
    };
    try {
      assertEquals(readback.readSync(storage.buffer, 4096, 5), undefined);
    } finally {
      GPUBuffer.prototype.getMappedRange = getMappedRange;
    }
    assertEquals(readback.canReadSync, false);
    assertEquals(readback.readSync(storage.buffer, 4, 1000), undefined);
    storage.release();
    using x = own.ones([3]);
    assertEquals(await x.sum().item(), 3);
  });

  it("is not to be had with tune: false", async () => {
    using plain = await requestDevice({ tune: false });
    assertEquals(runtimeOf(plain).readback.canReadSync, false);
  });

  it("survives emptyCache()", () => {
    device.emptyCache();
    waitFor(runtime);
  });
});

describe("Stopwatch.time()", () => {
  it("grows with the work", () => {
    const storage = memory.acquire(256, "a test");
    apart(runtime, (stopwatch) => {
      stopwatch.time(() => spin(device, storage, 10)); // Compiles.
      const [little, much] = [2_000, 200_000].map((turns) =>
        Math.min(...[1, 2, 3].map(() => stopwatch.time(() => spin(device, storage, turns))))
      );
      // A hundred times the turns; part of a short dispatch's time is none of its turns'.
      assertGreater(much!, 5 * little!);
    });
    storage.release();
  });

  it("passes errors on, and can be used again", () => {
    apart(runtime, (stopwatch) => {
      assertThrows(
        () =>
          stopwatch.time(() => {
            throw new RangeError("mine");
          }),
        Error,
        "mine",
      );
      assertEquals(typeof stopwatch.time(() => {}), "number");
    });
  });

  it("needs no more of a device than a clock", () => {
    const { gpu } = runtime;
    const timeless = new Proxy(gpu, {
      get: (target, name) => name === "features" ? new Set() : Reflect.get(target, name),
    });
    const stopwatch = new Stopwatch(runtime, new Profiler(timeless, memory));
    assertGreater(stopwatch.time(() => {}), 0);
  });
});

describe("apart()", () => {
  it("keeps no buffer and no peak, whoever releases last", () => {
    device.emptyCache();
    device.resetPeakMemory();
    waitFor(runtime);
    const idle = memory.acquire(4096, "a test");
    idle.release();
    const before = device.memory();
    const late = apart(runtime, () => {
      const [a, b] = [memory.acquire(4096, "a test"), memory.acquire(2 ** 20, "a test")];
      assert(a!.buffer !== idle.buffer, "idle buffers are left to their owners");
      a!.release();
      b!.release();
      const again = memory.acquire(2 ** 20, "a test");
      assert(again.buffer === b!.buffer, "buffers are reused within");
      return again;
    });
    const { peakBytes, reservedBytes } = device.memory();
    assertEquals(peakBytes, before.peakBytes);
    assertEquals(reservedBytes, before.reservedBytes + 2 ** 20);
    late.release();
    assertEquals(device.memory(), before);
    const kept = memory.acquire(4096, "a test");
    assert(kept.buffer === idle.buffer);
    kept.release();
  });

  it("restores everything if the function throws", () => {
    const before = device.memory();
    assertThrows(() =>
      apart(runtime, () => {
        memory.acquire(2 ** 20, "a test").release();
        throw new Error("mine");
      }), Error);
    assertEquals(device.memory(), before);
  });
});

describe("attempt()", () => {
  it("gives the result, or what went wrong, of which nobody else hears", async () => {
    const storage = memory.acquire(256, "a test");
    assertEquals(attempt(runtime, () => 3), { result: 3 });
    const thrown = attempt(runtime, () => {
      throw new TypeError("mine");
    });
    assertEquals(thrown, { failure: "mine" });
    const refused = attempt(runtime, () => runBroken(device, storage));
    assert("failure" in refused && refused.failure.includes("broken_candidate"), `${refused}`);
    await device.sync();
    storage.release();
  });

  it("leaves errors of work enqueued before to those who enqueued it", async () => {
    using own = await requestDevice({ tune: { cache: false } });
    const storage = runtimeOf(own).memory.acquire(256, "a test");
    runBroken(own, storage);
    assertEquals(attempt(runtimeOf(own), () => spin(own, storage, 1)), { result: undefined });
    let told: unknown;
    await own.sync().catch((error) => told = error);
    assert(`${told}`.includes('Cannot compile kernel "broken_candidate"'), `${told}`);
  });
});
