import {
  checkpoint,
  customFunction,
  noGrad,
  requestDevice,
  type Tensor,
  tidy,
} from "@denoformers/attention";
import { SeedSequence } from "../../../gpu/random/seeds.ts";
import { assert, assertEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";

// A device of this file's own, so that the counts are exact.
const device = await requestDevice({ tune: false });

const w = device.randn([16, 16], { seed: 1, requiresGrad: true });
const x = device.randn([4, 16], { seed: 2, requiresGrad: true });
const constant = device.randn([4, 16], { seed: 3 });

/** Gradients of `x` and `w`, `undefined` where there is none; both begin anew. */
async function grads(run: () => Tensor): Promise<(Float32Array | undefined)[]> {
  tidy(() => run().sum().backward());
  const found = await Promise.all([x, w].map(({ grad }) => grad?.data()));
  x.zeroGrad();
  w.zeroGrad();
  return found;
}

const block = (x: Tensor): Tensor => x.matmul(w).gelu().layerNorm().square();

describe("checkpoint()", () => {
  it("gives the same result and the same gradients, bit by bit", async () => {
    using plain = block(x);
    using saved = checkpoint(block, x);
    assertEquals(await saved.data(), await plain.data());
    assertEquals([saved.requiresGrad, saved.isLeaf], [true, false]);
    assertEquals(await grads(() => checkpoint(block, x)), await grads(() => block(x)));
  });

  it("works where only what the function captures requires gradients", async () => {
    const found = await grads(() => checkpoint(block, constant));
    assertEquals(found, await grads(() => block(constant)));
    assertEquals([found[0], found[1]?.length], [undefined, 256]);
  });

  it("is transparent where nothing requires gradients, or nothing is recorded", () => {
    using out = checkpoint((x) => x.mul(2), constant);
    assert(!out.requiresGrad);
    using other = noGrad(() => checkpoint(block, x));
    assert(!other.requiresGrad);
  });

  it("takes and returns several tensors, not all of which count", async () => {
    const several = (a: Tensor, b: Tensor): Tensor[] => [a.mul(b), a.gt(0), b, a.matmul(w)];
    const use = (list: Tensor[]): Tensor => list[0]!.add(list[2]!).mul(3);
    assertEquals(
      await grads(() => use(checkpoint(several, x, constant))),
      await grads(() => use(several(x, constant))),
    );
    tidy(() => {
      const out = checkpoint(several, x, constant);
      assertEquals(out.map(({ requiresGrad }) => requiresGrad), [true, false, true, true]);
    });
  });

  it("draws the same random numbers twice, and each stream goes on as without it", async () => {
    const run = async (wrap: typeof checkpoint) => {
      const seeds = new SeedSequence(5);
      const noisy = (x: Tensor): Tensor =>
        x.matmul(w).dropout(0.5, { seed: seeds.next() }).square();
      const found = await grads(() => wrap(noisy, wrap(noisy, x)));
      return [...found, seeds.next()];
    };
    const plain = ((fn: (x: Tensor) => Tensor, x: Tensor) => fn(x)) as typeof checkpoint;
    assertEquals(await run(checkpoint), await run(plain));
    // Without a seed: a kept element's gradient is 2, a dropped one's 0, in the second run as in the first.
    using out = checkpoint((x) => x.dropout(0.5), x);
    out.backward(device.ones([4, 16]));
    const [values, from, slopes] = await Promise.all([out.data(), x.data(), x.grad!.data()]);
    assertEquals(slopes, values.map((value, i) => value === 0 ? 0 : Math.round(value / from[i]!)));
    x.zeroGrad();
  });

  it("nests", async () => {
    const seeds = () => new SeedSequence(6);
    const nested = (seeds: SeedSequence) => (x: Tensor): Tensor => {
      const inner = checkpoint((x) => block(x).dropout(0.2, { seed: seeds.next() }), x);
      return block(inner).dropout(0.2, { seed: seeds.next() });
    };
    const flat = (seeds: SeedSequence) => (x: Tensor): Tensor => {
      const inner = block(x).dropout(0.2, { seed: seeds.next() });
      return block(inner).dropout(0.2, { seed: seeds.next() });
    };
    assertEquals(
      await grads(() => checkpoint(nested(seeds()), x)),
      await grads(() => flat(seeds())(x)),
    );
  });

  it("goes with custom functions", async () => {
    const double = customFunction({
      name: "double",
      forward: (_, x: Tensor) => x.mul(2),
      backward: (_, gradient) => gradient.mul(2),
    });
    assertEquals(
      await grads(() => checkpoint((x) => double(x.matmul(w)), x)),
      await grads(() => double(x.matmul(w))),
    );
  });

  it("counts an input that the function also captures, and a leaf that it returns", async () => {
    assertEquals(
      await grads(() => checkpoint((y) => y.mul(3).mul(x), x)),
      await grads(() => x.mul(3).mul(x)),
    );
    const [, found] = await grads(() => checkpoint((x) => [x.mul(2), w], x)[1]!);
    assertEquals(found, new Float32Array(256).fill(1));
  });

  it("gives the function the same tensor twice where it was passed twice", () => {
    const seen: boolean[] = [];
    const fn = (a: Tensor, b: Tensor): Tensor => {
      seen.push(a === b);
      return a.mul(b);
    };
    tidy(() => checkpoint(fn, x, x).sum().backward());
    tidy(() => checkpoint(fn, x, constant).sum().backward());
    x.zeroGrad();
    assertEquals(seen, [true, true, false, false]);
  });

  it("keeps the inputs alone until the backward pass", () => {
    const deep = (x: Tensor): Tensor => {
      let y = x;
      for (let i = 0; i < 8; i++) y = y.tanh();
      return y;
    };
    const before = device.memory().allocatedBytes;
    const bytes = 4 * 16 * 4;
    using plain = tidy(() => deep(x.mul(2)));
    assertEquals(device.memory().allocatedBytes - before, 8 * bytes);
    plain.dispose();
    using saved = tidy(() => checkpoint(deep, x.mul(2)));
    assertEquals(device.memory().allocatedBytes - before, 2 * bytes);
    tidy(() => saved.sum().backward());
    x.zeroGrad();
    saved.dispose();
    assertEquals(device.memory().allocatedBytes, before);
  });

  it("throws for a captured tensor that was computed, and for what it cannot run twice", () => {
    using y = x.mul(2);
    assertThrows(
      () => checkpoint((x) => x.add(y), x),
      Error,
      "the function uses a tensor that mul computed, which the second run could not differentiate; pass it as",
    );
    assertThrows(
      () => checkpoint(((x: Tensor) => Promise.resolve(x)) as unknown as (x: Tensor) => Tensor, x),
      TypeError,
      "Cannot checkpoint: the function returned a promise, expected a tensor or an array of tensors",
    );
    let runs = 0;
    assertThrows(
      () => tidy(() => checkpoint((x) => runs++ === 0 ? x.mul(2) : x.sum(), x).sum().backward()),
      Error,
      "the second run of the function returned other outputs than the first",
    );
    runs = 0;
    assertThrows(
      () =>
        tidy(() => checkpoint((x) => runs++ === 0 ? x.mul(2) : x.dropout(0.5), x).sum().backward()),
      Error,
      "it draws more random seeds than the 0 of its first run",
    );
    assertEquals([x.grad, w.grad], [undefined, undefined]);
  });
});
