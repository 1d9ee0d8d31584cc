import {
  type Device,
  DeviceLostError,
  GpuValidationError,
  requestDevice,
  ShaderCompileError,
  type Tensor,
} from "@denoformers/attention";
import { runtimeOf } from "../../gpu/device.ts";
import type { Kernel } from "../../gpu/runtime/kernels.ts";
import { arrayOf } from "../../gpu/tensor/base.ts";
import {
  assert,
  assertEquals,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { describe, it } from "@std/testing/bdd";

const BROKEN: Kernel = {
  label: "broken_kernel",
  bindings: ["write"],
  source: "fn main() { return no_such_function(1); }",
};

/** Enqueues a kernel that writes the tensor. */
function write(device: Device, kernel: Kernel, target: Tensor): void {
  runtimeOf(device).kernels.dispatch(kernel, {
    storages: [arrayOf(target).storage],
    params: new Uint32Array(4),
    workgroups: 1,
  });
}

describe("a kernel that does not compile", () => {
  it("throws ShaderCompileError at the next await, with label and source", async () => {
    using device = await requestDevice({ tune: false });
    using target = device.zeros([4]);
    write(device, BROKEN, target);
    const error = await assertRejects(
      () => device.sync(),
      ShaderCompileError,
      'Cannot compile kernel "broken_kernel"',
    );
    assertStringIncludes(error.message, "no_such_function");
    assertStringIncludes(error.message, BROKEN.source);
    assertEquals(error.name, "ShaderCompileError");
  });

  it("ends a profile with that error, and the next profile is right", async () => {
    using device = await requestDevice({ tune: false });
    using target = device.zeros([4]);
    // Some drivers would wait for its timestamps without end.
    await assertRejects(
      () => device.profile(() => write(device, BROKEN, target)),
      ShaderCompileError,
    );
    using ones = device.ones([4]);
    const { result, kernels } = await device.profile(() => ones.add(1));
    assertEquals(await result.data(), new Float32Array(4).fill(2));
    if (device.info.timestamps) assertEquals(kernels.map(({ calls }) => calls), [1]);
    result.dispose();
  });

  it("spoils its batch for good, and nothing before or after it", async () => {
    using device = await requestDevice({ tune: false });
    using before = device.tensor([1, 2, 3]);
    await device.sync();

    using target = device.zeros([4]);
    write(device, BROKEN, target);
    using derived = target.add(1);
    await assertRejects(() => before.data(), ShaderCompileError);

    const { allocatedBytes } = device.memory();
    for (const tensor of [target, derived]) {
      await assertRejects(() => tensor.data(), ShaderCompileError);
      await assertRejects(() => tensor.toArray(), ShaderCompileError);
      await assertRejects(() => tensor.format(), ShaderCompileError);
      assertThrows(() => tensor.add(1), ShaderCompileError);
      assertThrows(() => before.matmul(tensor.reshape([4, 1])), ShaderCompileError);
    }
    assertEquals(device.memory().allocatedBytes, allocatedBytes);

    assertEquals(await before.data(), new Float32Array([1, 2, 3]));
    using after = before.add(1);
    assertEquals(await after.data(), new Float32Array([2, 3, 4]));
    await device.sync();
  });

  it("spoils what is computed from its output while the verdict is awaited", async () => {
    using device = await requestDevice({ tune: false });
    using target = device.zeros([4]);
    await device.sync();
    write(device, BROKEN, target);
    const reading = assertRejects(() => target.data(), ShaderCompileError);
    using derived = target.add(1);
    using second = derived.mul(2);
    await reading;
    await assertRejects(() => derived.data(), ShaderCompileError);
    await assertRejects(() => second.data(), ShaderCompileError);
  });

  it("gives the compiler's messages again when it is run again", async () => {
    using device = await requestDevice({ tune: false });
    for (let run = 0; run < 2; run++) {
      using target = device.zeros([4]);
      write(device, BROKEN, target);
      await assertRejects(() => target.data(), ShaderCompileError, BROKEN.source);
    }
  });

  it("tells all who wait for it at once, and no handler of uncaptured errors", async () => {
    using device = await requestDevice({ tune: false });
    let uncaptured = 0;
    runtimeOf(device).gpu.addEventListener("uncapturederror", (event) => {
      event.preventDefault();
      uncaptured++;
    });
    using target = device.zeros([4]);
    using fine = device.ones([4]);
    await device.sync();
    write(device, BROKEN, target);
    const [told, read] = await Promise.allSettled([device.sync(), target.data(), device.sync()]);
    for (const outcome of [told, read]) {
      assertEquals(outcome.status, "rejected");
      assert((outcome as PromiseRejectedResult).reason instanceof ShaderCompileError);
    }
    assertEquals(await fine.data(), new Float32Array(4).fill(1));
    assertEquals(uncaptured, 0);
  });

  it("does not spoil the tensors that get its buffers next", async () => {
    using device = await requestDevice({ tune: false });
    const target = device.zeros([4]);
    write(device, BROKEN, target);
    await assertRejects(() => target.data(), ShaderCompileError);
    target.dispose();
    using next = device.full([4], 3);
    assertEquals(await next.data(), new Float32Array([3, 3, 3, 3]));
  });
});

describe("a command that the GPU refuses", () => {
  it("throws GpuValidationError at the next await, and spoils its batch alone", async () => {
    using device = await requestDevice({ tune: false });
    using before = device.tensor([1, 2]);
    using source = device.tensor([3, 4, 5, 6, 7]);
    await device.sync();

    arrayOf(source).storage.buffer.destroy();
    using sum = source.add(1);
    const error = await assertRejects(
      () => device.sync(),
      GpuValidationError,
      "GPU refused a command: ",
    );
    assertStringIncludes(error.message, `Adapter: ${device.info.adapter}`);
    assertStringIncludes(error.message, "live tensors");

    await assertRejects(() => sum.data(), GpuValidationError);
    assertThrows(() => sum.neg(), GpuValidationError);
    assertEquals(await before.data(), new Float32Array([1, 2]));
    using after = before.mul(2);
    assertEquals(await after.data(), new Float32Array([2, 4]));
  });
});

describe("tensors beyond the device's limits", () => {
  it("throw RangeError before any work", async () => {
    const limit = 2 ** 20;
    using device = await requestDevice({ tune: false, limits: { maxBufferSize: limit } });
    assertEquals(device.info.limits.maxBufferSize, limit);
    using most = device.ones([2 ** 18]);
    using row = device.ones([513, 1]);
    using column = device.ones([1, 512]);
    await device.sync();
    const before = device.memory();
    const size = 513 * 512 * 4;
    const text = "Cannot allocate a tensor of shape [513, 512] and dtype f32: it takes " +
      `${size} bytes, the device's maxBufferSize is ${limit}; split the tensor`;
    const shape = [513, 512];
    const uses: (() => unknown)[] = [
      () => device.zeros(shape),
      () => device.rand(shape, { seed: 1 }),
      () => device.randn(shape, { seed: 1 }),
      () => device.tensor(new Float32Array(513 * 512), { shape }),
      () => row.add(column),
      () => row.matmul(column),
      () => row.expand(shape).contiguous(),
      () => row.expand(shape).softmax(),
      () => row.expand(shape).dropout(0.5),
    ];
    for (const use of uses) assertThrows(use, RangeError, text);
    assertEquals(device.memory().allocatedBytes, before.allocatedBytes);
    // What fits goes on working.
    assertEquals(await most.sum().item(), 2 ** 18);
  });

  it("throw RangeError for more elements than kernels can count", async () => {
    using device = await requestDevice({ tune: false });
    const text = "Cannot allocate a tensor of shape [65536, 65536]: it has 4294967296 elements";
    assertThrows(() => device.zeros([2 ** 16, 2 ** 16], { dtype: "bool" }), RangeError, text);
  });
});

describe("a device that is disposed", () => {
  it("throws DeviceLostError wherever it or its tensors are used", async () => {
    const device = await requestDevice({ tune: false });
    const x = device.ones([2]);
    await device.sync();
    device.dispose();
    const text = "GPU device was disposed: create a new one with requestDevice()";
    const uses: (() => unknown)[] = [
      () => device.tensor([1]),
      () => device.zeros([1]),
      () => device.rand([1]),
      () => x.add(1),
      () => x.reshape([1, 2]),
    ];
    for (const use of uses) assertThrows(use, DeviceLostError, text);
    const reads = [() => x.data(), () => x.toArray(), () => x.format(), () => device.sync()];
    for (const read of reads) await assertRejects(read, DeviceLostError, text);
    x.dispose();
    device.dispose();
    assertEquals(x.shape, [2]);
  });

  it("rejects reads under way, or lets them end with the right values", async () => {
    const device = await requestDevice({ tune: false });
    const x = device.ones([1000]);
    const reading = x.data();
    device.dispose();
    try {
      assertEquals(await reading, new Float32Array(1000).fill(1));
    } catch (error) {
      assert(error instanceof DeviceLostError, `${error}`);
    }
  });

  it("leaves other devices alone", async () => {
    const one = await requestDevice({ tune: false });
    using other = await requestDevice({ tune: false });
    using x = other.ones([3]);
    one.dispose();
    assertEquals(await x.data(), new Float32Array([1, 1, 1]));
  });
});
