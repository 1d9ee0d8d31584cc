/** Errors thrown by the caller's own functions: scopes, recording, profiles and memory are as they were before. */
import {
  checkpoint,
  customFunction,
  type Device,
  isGradEnabled,
  memoryEfficientAttention,
  noGrad,
  requestDevice,
  type Tensor,
  tidy,
} from "@denoformers/attention";
import { assert, assertEquals, assertRejects } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { sharedDevice } from "../_device.ts";

class Mine extends Error {}

/** Throws, after it has made tensors and history that somebody must give back. */
function fail(x: Tensor): never {
  memoryEfficientAttention(x, x, x).mul(x).sum();
  throw new Mine("thrown by the caller");
}

const failsForward = customFunction({
  name: "fails_forward",
  forward: (context, x: Tensor) => {
    context.save(x.mul(2));
    return fail(x);
  },
  backward: (_, gradient) => gradient,
});

const failsBackward = customFunction({
  name: "fails_backward",
  forward: (context, x: Tensor) => {
    context.save(x);
    return x.mul(2);
  },
  backward: ({ saved }) => fail(saved[0]!),
});

function hasGradient({ grad }: Tensor): boolean {
  return grad !== undefined;
}

let calls = 0;

/** Where the error is thrown. */
const PLACES: Record<string, (device: Device, x: Tensor) => unknown> = {
  "tidy": (_, x) => tidy(() => fail(x)),
  "a tidy in a tidy": (_, x) => tidy(() => [x.add(1), tidy(() => fail(x))]),
  "noGrad": (_, x) => noGrad(() => tidy(() => fail(x))),
  "a profile": (device, x) => device.profile(() => tidy(() => fail(x))),
  "an asynchronous profile": (device, x) =>
    device.profile(async () => {
      await x.data();
      tidy(() => fail(x));
    }),
  "a custom function's forward": (_, x) => failsForward(x),
  "a custom function's backward": (_, x) => tidy(() => failsBackward(x).sum().backward()),
  "a backward pass after other gradients": (_, x) =>
    tidy(() => x.mul(3).add(failsBackward(x)).add(x.square()).sum().backward()),
  "a checkpoint's first run": (_, x) => checkpoint((x) => fail(x), x),
  "a checkpoint's second run": (_, x) => {
    calls = 0;
    const twice = (x: Tensor) => ++calls === 2 ? fail(x) : x.dropout(0.5).mul(2);
    tidy(() => checkpoint(twice, x).sum().backward());
  },
  "everything at once": (device, x) =>
    device.profile(() => tidy(() => noGrad(() => checkpoint((x) => tidy(() => fail(x)), x)))),
};

describe("an error that the caller's function throws", () => {
  for (const [place, run] of Object.entries(PLACES)) {
    it(`in ${place} arrives as it is, and leaves nothing behind`, async () => {
      const device = await sharedDevice();
      using x = device.randn([1, 6, 2, 4], { seed: 1, requiresGrad: true });
      await device.sync();
      const before = device.memory();

      const error = await assertRejects(async () => await run(device, x), Mine);
      assertEquals(error.message, "thrown by the caller");

      const { allocatedBytes, buffers, tensors } = device.memory();
      assertEquals(
        { allocatedBytes, buffers, tensors },
        {
          allocatedBytes: before.allocatedBytes,
          buffers: before.buffers,
          tensors: before.tensors,
        },
      );
      assert(isGradEnabled());
      assert(!hasGradient(x), "the pass that failed left a gradient");
      // No scope is left open: what is made now stays.
      using kept = device.ones([2]);
      tidy(() => void device.ones([2]));
      assertEquals(await kept.data(), new Float32Array([1, 1]));
      // Gradients are recorded, and right.
      tidy(() => x.square().sum().backward());
      using expected = tidy(() => x.detach().mul(2));
      using gradient = x.grad!.detach();
      assertEquals(await gradient.data(), await expected.data());
      x.zeroGrad();
      // No profile is under way, and none of the kernels before shows in the next.
      const { result, kernels } = await device.profile(() => kept.add(1));
      result.dispose();
      if (device.info.timestamps) assertEquals(kernels.map(({ calls }) => calls), [1]);
    });
  }

  it("in a checkpoint leaves the stream of random seeds where it is", async () => {
    const draw = async (fails: boolean) => {
      using device = await requestDevice({ tune: false });
      const x = device.ones([8], { requiresGrad: true });
      try {
        if (fails) checkpoint((x) => fail(x.reshape([1, 8, 1, 1])), x);
      } catch (error) {
        assert(error instanceof Mine);
      }
      calls = 0;
      const run = (x: Tensor) => x.dropout(0.5, { seed: 5 });
      checkpoint(run, x).sum().backward();
      return await x.grad!.data();
    };
    assertEquals(await draw(true), await draw(false));
  });
});
