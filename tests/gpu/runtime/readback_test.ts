import { GpuValidationError, requestDevice, type Tensor } from "@denoformers/attention";
import { runtimeOf } from "../../../gpu/device.ts";
import { arrayOf } from "../../../gpu/tensor/base.ts";
import { assert, assertEquals, assertLess, assertRejects } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { nanPadded, sharedDevice } from "../../_device.ts";

const device = await sharedDevice();

describe("reading back", () => {
  it("many small tensors, one after the other", async () => {
    for (let i = 0; i < 200; i++) {
      using x = device.full([1 + i % 7], i);
      const data = await x.data();
      assertEquals([data.length, data.at(-1)], [1 + i % 7, i]);
    }
  });

  it("many tensors of all sizes at once", async () => {
    const sizes = Array.from({ length: 60 }, (_, i) => 1 + (i * 977) % 5000);
    const tensors = sizes.map((size, i) => device.full([size], i));
    const read = await Promise.all(tensors.map((tensor) => tensor.data()));
    for (const [i, data] of read.entries()) {
      assertEquals(data.length, sizes[i]);
      assert(data.every((value) => value === i), `tensor ${i}`);
      tensors[i]!.dispose();
    }
  });

  it("one tensor from many places at once", async () => {
    using x = device.arange(1000);
    const reads = await Promise.all(Array.from({ length: 20 }, () => x.sum().item()));
    assertEquals(new Set(reads), new Set([499_500]));
    const [data, text, list] = await Promise.all([x.data(), x.format(), x.toArray()]);
    assertEquals([data[999], text.length > 0, (list as number[])[999]], [999, true, 999]);
  });

  it("gives the values of the moment of the call, though the tensor is disposed since", async () => {
    const x = device.full([3000], 5);
    const dense = x.data();
    const y = nanPadded(device, [1, 2, 3, 4], [2, 2]);
    const strided = y.data();
    const shown = y.format();
    x.dispose();
    y.dispose();
    // These get the buffers that have just become free.
    const others = [3000, 3000, 4, 4, 4].map((size) => device.full([size], -1));
    assert((await dense).every((value) => value === 5));
    assertEquals(await strided, new Float32Array([1, 2, 3, 4]));
    assertEquals(await shown, "tensor([[1., 2.],\n        [3., 4.]])");
    for (const other of others) other.dispose();
  });

  it("gives results that later reads and emptied caches leave as they are", async () => {
    const results: Float32Array[] = [];
    for (let i = 0; i < 5; i++) {
      using x = device.full([70_000], i);
      results.push(await x.data());
    }
    device.emptyCache();
    using y = device.full([70_000], -1);
    await y.data();
    for (const [i, data] of results.entries()) assert(data.every((value) => value === i));
  });

  it("leaves nothing behind when several reads end in any order", async () => {
    const before = device.memory();
    const read = async (size: number) => {
      using x = device.full([size], size);
      using y: Tensor = x.slice(0, 1);
      return (await y.data()).length;
    };
    const lengths = await Promise.all([5000, 2, 30, 400].map(read));
    assertEquals(lengths, [4999, 1, 29, 399]);
    assertEquals(device.memory().allocatedBytes <= before.allocatedBytes, true);
  });

  it("more than one staging buffer holds", async () => {
    // 64 MiB go through at once.
    const size = 70_000_000 / 4;
    const values = new Float32Array(size);
    for (let i = 0; i < size; i += 1024) values[i] = i;
    values[size - 1] = 7;
    const x = device.tensor(values);
    const reading = x.data();
    x.dispose();
    const data = await reading;
    assertEquals(data.length, size);
    let wrong = 0;
    for (let i = 0; i < size; i++) if (data[i] !== values[i]) wrong++;
    assertEquals(wrong, 0);
    device.emptyCache();
  });

  it("never gives what was read before where its own copy was refused", async () => {
    using device = await requestDevice({ tune: false });
    using wanted = device.tensor([1, 2, 3, 4]);
    using other = device.tensor([9, 9, 9, 9]);
    // Whoever waits first is told why; the other must not take silence for success. Who that is depends on how far
    // the first wait has come.
    for (let steps = 0; steps < 20; steps++) {
      await other.data(); // Lies in the staging buffer now.
      const waiting = device.sync();
      for (let step = 0; step < steps; step++) await Promise.resolve();
      const broken = device.tensor([5, 6, 7, 8, 9]);
      arrayOf(broken).storage.buffer.destroy();
      const refused = broken.add(1); // Goes to the queue together with the copy, which is refused with it.
      const reading = wanted.data();
      await Promise.allSettled([waiting, reading]);
      await assertRejects(() => reading, GpuValidationError);
      await assertRejects(() => refused.data(), GpuValidationError);
      assertEquals(await wanted.data(), new Float32Array([1, 2, 3, 4]));
      device.emptyCache();
    }
  });

  it("condemns nothing that is written while a failed mapping is waited for", async () => {
    using device = await requestDevice({ tune: false });
    const { gpu } = runtimeOf(device);
    using x = device.ones([3000]);
    await device.sync();
    const createBuffer = gpu.createBuffer.bind(gpu);
    // No usage: an invalid buffer, as where there is no room for one.
    gpu.createBuffer = (descriptor) => createBuffer({ ...descriptor, usage: 0 });
    const reading = x.data();
    gpu.createBuffer = createBuffer;
    using y = x.add(1);
    await assertRejects(() => reading, GpuValidationError);
    assertEquals((await y.data())[2999], 2);
    assertEquals((await x.data())[2999], 1);
  });

  it("gives other JavaScript a turn, however many reads follow one another", async () => {
    using x = device.ones([4]);
    await x.data(); // The first mapping of a buffer waits for the event loop anyway.
    let hasFired = false;
    const { setTimeout } = globalThis;
    const timer = setTimeout(() => hasFired = true);
    // A read that takes long sleeps, which is a turn as well: here it shall not be.
    globalThis.setTimeout = ((done: () => void) => queueMicrotask(done)) as typeof setTimeout;
    try {
      // Hundreds of times as long as a timer takes. A loop of reads alone would never let it fire.
      const end = performance.now() + 2000;
      while (!hasFired && performance.now() < end) await x.data();
    } finally {
      globalThis.setTimeout = setTimeout;
      clearTimeout(timer);
    }
    assert(hasFired);
  });

  it("takes a small tensor in under 5 ms in Deno, where a mapping alone takes 10", async () => {
    if (!device.info.runtime.startsWith("Deno 2.9.")) return;
    using x = device.ones([4]);
    const times: number[] = [];
    for (let i = 0; i < 20; i++) {
      const start = performance.now();
      await x.data();
      times.push(performance.now() - start);
    }
    // The quickest of them: others wait for a busy computer. Of mappings alone, each takes 10.
    assertLess(Math.min(...times), 5);
  });
});
