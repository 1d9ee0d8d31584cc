import { type Device, requestDevice, type Tensor } from "@denoformers/attention";
import { runtimeOf } from "../../../gpu/device.ts";
import { assertEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { sharedDevice } from "../../_device.ts";

const device = await sharedDevice();

/** Calls a function and gives the number of submits within it, in which `queue.submit([])` does not count. */
function submitsOf(device: Device, fn: () => void): number {
  const { queue } = runtimeOf(device).gpu;
  const submit = queue.submit.bind(queue);
  let count = 0;
  queue.submit = (buffers) => {
    count += [...buffers].length;
    submit(buffers);
  };
  try {
    fn();
  } finally {
    queue.submit = submit;
  }
  return count;
}

describe("CommandQueue", () => {
  it("submits the dispatches of one turn of JavaScript together, at its end", async () => {
    using x = device.tensor([1, 2, 3]);
    await device.sync();
    const results: Tensor[] = [];
    const early = submitsOf(device, () => {
      for (let i = 0; i < 8; i++) results.push(x.add(i));
    });
    assertEquals(early, 0);
    const { queue } = runtimeOf(device).gpu;
    const { submit } = queue;
    let late = 0;
    queue.submit = (buffers) => {
      late += [...buffers].length;
      submit.call(queue, buffers);
    };
    await Promise.resolve();
    queue.submit = submit;
    assertEquals(late, 1);
    for (const [i, result] of results.entries()) {
      assertEquals(await result.data(), new Float32Array([1 + i, 2 + i, 3 + i]));
      result.dispose();
    }
  });

  it("keeps the order of more dispatches than it gathers, each with its own parameters", async () => {
    let x = device.tensor([1, -1]);
    const submits = submitsOf(device, () => {
      for (let i = 0; i < 100; i++) {
        const next = x.mul(i % 2 ? 0.5 : 2).add(i);
        x.dispose();
        x = next;
      }
    });
    let expected = [1, -1];
    for (let i = 0; i < 100; i++) expected = expected.map((v) => v * (i % 2 ? 0.5 : 2) + i);
    assertEquals(await x.data(), new Float32Array(expected));
    assertEquals(submits, Math.floor(200 / 16));
    x.dispose();
  });

  it("lets an upload wait for dispatches that read its buffer", async () => {
    const old = device.tensor([1, 2, 3, 4]);
    await device.sync();
    using sum = old.add(0);
    const { buffers } = device.memory();
    old.dispose();
    using next = device.tensor([5, 6, 7, 8]); // Takes the buffer that was given back last.
    assertEquals(device.memory().buffers, buffers);
    assertEquals(await sum.data(), new Float32Array([1, 2, 3, 4]));
    assertEquals(await next.data(), new Float32Array([5, 6, 7, 8]));
  });

  it("lets the end of a buffer wait for dispatches that use it", async () => {
    const x = device.tensor([1, 2]);
    await device.sync();
    using sum = x.add(1);
    x.dispose();
    device.emptyCache();
    assertEquals(await sum.data(), new Float32Array([2, 3]));
  });

  it("times every dispatch by itself, behind those that are not timed", async () => {
    using x = device.tensor([3]);
    using before = x.add(1);
    const { result, kernels } = await device.profile(() => before.mul(2).add(1).mul(2));
    assertEquals(await result.data(), new Float32Array([18]));
    if (device.info.timestamps) {
      assertEquals(kernels.map(({ kernel, calls }) => [kernel, calls]), [["mul", 2], ["add", 1]]);
    }
    result.dispose();
  });

  it("forgets what is gathered when the device is disposed", async () => {
    const lost = await requestDevice({ tune: false });
    const x = lost.ones([4]);
    x.add(1);
    lost.dispose();
    await Promise.resolve();
    assertThrows(() => x.add(1), Error, "GPU device was disposed");
  });

  it("throws for parameters larger than their place", () => {
    const runtime = runtimeOf(device);
    const kernel = {
      label: "none",
      source: "@compute @workgroup_size(1) fn main() {}",
      bindings: [],
    };
    const params = new Uint32Array(257);
    assertThrows(
      () => runtime.kernels.dispatch(kernel, { storages: [], params, workgroups: 1 }),
      Error,
      'Cannot run kernel "none": its parameters take over 1024 bytes',
    );
  });
});
