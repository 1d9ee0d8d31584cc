import { requestDevice, type Tensor, tidy } from "@denoformers/attention";
import { assert, assertEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import v8 from "node:v8";
import vm from "node:vm";

// A device of this file's own, so that the counts are exact.
const device = await requestDevice({ tune: false });

function allocated(): { bytes: number; buffers: number; tensors: number } {
  const { allocatedBytes, buffers, tensors } = device.memory();
  return { bytes: allocatedBytes, buffers, tensors };
}

describe("tidy()", () => {
  it("disposes all but the result", async () => {
    const x = device.tensor([3, 4]);
    const before = allocated();
    const norm = tidy(() => x.square().sum().sqrt());
    assertEquals(allocated(), {
      bytes: before.bytes + 16,
      buffers: before.buffers + 1,
      tensors: before.tensors + 1,
    });
    assertEquals(await norm.item(), 5);
    assert(!x.isDisposed);
    norm.dispose();
    x.dispose();
  });

  it("keeps tensors within arrays and objects, views included", async () => {
    const before = allocated().tensors;
    const { pair: [a, b], deep } = tidy(() => {
      const base = device.arange(6);
      return {
        pair: [base.slice(0, 0, 2), base.add(1)] as const,
        deep: { view: base.select(0, 5) },
      };
    });
    assertEquals(allocated().tensors, before + 3);
    assertEquals(await a.data(), new Float32Array([0, 1]));
    assertEquals((await b.data())[5], 6);
    assertEquals(await deep.view.item(), 5);
    for (const tensor of [a, b, deep.view]) tensor.dispose();
    assertEquals(allocated().tensors, before);
  });

  it("nests: what the inner one returns belongs to the outer one", () => {
    const before = allocated();
    let inner: Tensor | undefined;
    const kept = tidy(() => {
      inner = tidy(() => device.ones([3]).add(1));
      assert(!inner.isDisposed);
      assertEquals(allocated().tensors, before.tensors + 1);
      return tidy(() => inner!.mul(2));
    });
    assert(inner!.isDisposed);
    assert(!kept.isDisposed);
    kept.dispose();
    assertEquals(allocated(), before);
  });

  it("disposes all after an error, and passes it on", () => {
    const before = allocated();
    assertThrows(
      () =>
        tidy(() => {
          device.ones([3]);
          tidy(() => device.ones([4]));
          throw new Error("mine");
        }),
      Error,
      "mine",
    );
    assertEquals(allocated(), before);
    // The scopes are closed again.
    const free = device.ones([1]);
    assert(!free.isDisposed);
    free.dispose();
  });

  it("throws TypeError for an asynchronous function", async () => {
    const before = allocated();
    assertThrows(
      () => tidy(() => Promise.resolve(device.ones([1]))),
      TypeError,
      "Cannot tidy an asynchronous function",
    );
    await Promise.resolve();
    assertEquals(allocated(), before);
  });

  it("does not mind tensors that are disposed within, and results without tensors", () => {
    const before = allocated();
    assertEquals(
      tidy(() => {
        device.ones([1]).dispose();
        return 5;
      }),
      5,
    );
    assertEquals(tidy(() => null), null);
    assertEquals(allocated(), before);
  });
});

describe("using", () => {
  it("disposes at the end of the block, after an error too", () => {
    const before = allocated();
    {
      using x = device.ones([3]);
      assertEquals(x.size, 3);
    }
    assertThrows(() => {
      using _x = device.ones([3]);
      throw new Error("mine");
    }, Error);
    assertEquals(allocated(), before);
  });
});

describe("garbage collection", () => {
  it("gives the memory of forgotten tensors back", async () => {
    const before = allocated();
    const forget = () => {
      for (let i = 0; i < 20; i++) device.ones([100]).add(1);
    };
    forget();
    assert(allocated().tensors > before.tensors);
    const kept = device.ones([2]);
    v8.setFlagsFromString("--expose-gc");
    const collect: () => void = vm.runInNewContext("gc");
    const start = performance.now();
    while (allocated().tensors > before.tensors + 1 && performance.now() - start < 10_000) {
      collect();
      await new Promise((done) => setTimeout(done, 1));
    }
    assertEquals(allocated(), {
      bytes: before.bytes + 16,
      buffers: before.buffers + 1,
      tensors: before.tensors + 1,
    });
    assertEquals(await kept.data(), new Float32Array([1, 1]));
    kept.dispose();
  });
});
