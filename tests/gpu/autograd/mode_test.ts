import { isGradEnabled, noGrad } from "@denoformers/attention";
import type { Variable } from "../../../gpu/autograd/graph.ts";
import { withoutRecording, withRecording } from "../../../gpu/autograd/mode.ts";
import { variableOf } from "../../../gpu/tensor/base.ts";
import { assert, assertEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { sharedDevice } from "../../_device.ts";

const device = await sharedDevice();

describe("noGrad()", () => {
  it("switches recording off and on again, nested and after an error", () => {
    assert(isGradEnabled());
    const seen = noGrad(() => [isGradEnabled(), noGrad(() => isGradEnabled()), isGradEnabled()]);
    assertEquals(seen, [false, false, false]);
    assertThrows(
      () =>
        noGrad(() => {
          throw new Error("mine");
        }),
      Error,
      "mine",
    );
    assert(isGradEnabled());
    assertEquals(noGrad(() => withRecording(true, isGradEnabled)), true);
  });

  it("gives results without history, and leaves requiresGrad of leaves", () => {
    using x = device.ones([2], { requiresGrad: true });
    using y = noGrad(() => x.mul(2));
    assertEquals([x.requiresGrad, y.requiresGrad, y.isLeaf], [true, false, true]);
  });

  it("throws TypeError for an asynchronous function", () => {
    assertThrows(
      () => noGrad(() => Promise.resolve(1)),
      TypeError,
      "Cannot run an asynchronous function in noGrad: await outside of it",
    );
    assert(isGradEnabled());
  });
});

describe("withoutRecording()", () => {
  it("reports what would have been recorded, and nothing from a noGrad() within", () => {
    using x = device.ones([2], { requiresGrad: true });
    using y = device.ones([2], { requiresGrad: true });
    using z = device.ones([2]);
    const seen = new Set<Variable>();
    withoutRecording((variable) => seen.add(variable), () => {
      using product = x.mul(z);
      using _sum = product.add(1);
      using _other = noGrad(() => y.neg());
      assert(!product.requiresGrad);
    });
    assertEquals([...seen].map((variable) => variable === variableOf(x)), [true]);
    using _after = noGrad(() => y.neg());
    assertEquals(seen.size, 1);
  });
});
