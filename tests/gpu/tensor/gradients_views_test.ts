import { type Tensor, tidy } from "@denoformers/attention";
import { gradCheck } from "@denoformers/attention/testing";
import { assert, assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { nanPadded, sharedDevice } from "../../_device.ts";
import { randomValues } from "../_values.ts";

const device = await sharedDevice();

/** `[2, 3, 4]`, within NaN. */
function input(): Tensor {
  const x = nanPadded(device, randomValues(24, 1), [2, 3, 4]);
  x.requiresGrad = true;
  return x;
}

// A square behind each view lets the gradient that arrives at it depend on the place.
const VIEWS: Record<string, (x: Tensor) => Tensor> = {
  "reshape(), with a copy": (x) => x.transpose(0, 2).reshape([6, 4]),
  "permute()": (x) => x.permute([2, 0, -2]),
  "transpose()": (x) => x.transpose(0, -1),
  "slice()": (x) => x.slice(2, 1, 4, 2),
  "slice() to the end": (x) => x.slice(1, -2),
  "select()": (x) => x.select(1, -1),
  "expand()": (x) => x.select(1, 0).unsqueeze(1).expand([5, 2, 3, 4]),
  "squeeze()": (x) => x.slice(0, 1).squeeze(0).unsqueeze(2).squeeze(),
  "contiguous()": (x) => x.transpose(0, 1).contiguous(),
  "clone()": (x) => x.clone(),
  "unbind()": (x) => {
    const [a, , c] = x.unbind(1) as [Tensor, Tensor, Tensor];
    return a.mul(c);
  },
  "chunk()": (x) => {
    const [a, b] = x.chunk(2, 1) as [Tensor, Tensor];
    return a.mul(b);
  },
};

describe("gradients of views", () => {
  for (const [name, view] of Object.entries(VIEWS)) {
    it(`${name} puts them where the elements came from`, async () => {
      using x = input();
      await gradCheck((x) => view(x).square(), x);
    });
  }

  it("unbind() and chunk() give zeros for what is not used, in one piece", async () => {
    using x = device.tensor([[1, 2], [3, 4], [5, 6]], { requiresGrad: true });
    tidy(() => x.unbind(1)[1]!.sum().backward());
    assertEquals(await x.grad!.toArray(), [[0, 1], [0, 1], [0, 1]]);
    x.zeroGrad();
    tidy(() => {
      const [first, second] = x.chunk(2) as [Tensor, Tensor];
      assertEquals([first.isLeaf, second.requiresGrad], [false, true]);
      first.mul(3).sum().backward();
    });
    assertEquals(await x.grad!.toArray(), [[3, 3], [3, 3], [0, 0]]);
    assert(x.grad!.isContiguous());
  });

  it("unbind() of no parts is no trouble", () => {
    using x = device.zeros([0, 2], { requiresGrad: true });
    assertEquals(x.unbind(0), []);
  });

  it("slices of one tensor add up", async () => {
    using x = device.tensor([1, 2, 3], { requiresGrad: true });
    tidy(() => x.slice(0, 0, 2).mul(10).sum().add(x.slice(0, 1).sum()).backward());
    assertEquals(await x.grad!.toArray(), [10, 11, 1]);
  });
});

describe("gradients of conversions", () => {
  it("to() gives each leaf its own dtype, and none to integers", async () => {
    for (const dtype of ["f16", "bf16"] as const) {
      using x = device.tensor([1, 2, 3, 4, 5], { dtype, requiresGrad: true });
      using loss = tidy(() => x.to("f32").square().sum());
      loss.backward();
      assertEquals(x.grad!.dtype, dtype);
      assertEquals(await x.grad!.toArray(), [2, 4, 6, 8, 10]);
      for (const other of ["i32", "u32", "bool"] as const) {
        using converted = x.to(other);
        assert(!converted.requiresGrad);
      }
    }
  });

  it("halves go through views as halves", async () => {
    using x = device.tensor([[1, 2, 3], [4, 5, 6]], { dtype: "f16", requiresGrad: true });
    tidy(() => {
      const part = x.slice(1, 1).transpose(0, 1);
      part.mul(part).sum().backward();
    });
    assertEquals(await x.grad!.toArray(), [[0, 4, 6], [0, 10, 12]]);
  });
});
