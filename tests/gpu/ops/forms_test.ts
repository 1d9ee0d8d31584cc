import type { Device, Tensor } from "@denoformers/attention";
import { assertAllClose } from "@denoformers/attention/testing";
import { assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { sharedDevice } from "../../_device.ts";
import { beyondCore } from "../../_extent.ts";
import { deviceAsGpu } from "../_forms.ts";
import { randomValues, read } from "../_values.ts";

const device = await sharedDevice();
/** Rows in registers, teams of up to 256 threads: with subgroups, and with barriers alone. */
const GPUS = [await deviceAsGpu(), await deviceAsGpu(false)];

/** What is computed over rows `[R, C]` on a device; the caller disposes. */
function overRows(device: Device, [R, C]: readonly [number, number]): Record<string, Tensor> {
  const tensor = (size: number, seed: number, shape: readonly number[]) =>
    device.tensor(randomValues(size, seed), { shape, requiresGrad: true });
  const [x, g] = [tensor(R * C, 1, [R, C]), tensor(R * C, 2, [R, C])];
  const [w, b] = [tensor(C, 3, [C]), tensor(C, 4, [C])];
  const [y, normalized] = [x.softmax(1), x.layerNorm({ weight: w, bias: b })];
  const halves = x.detach().to("f16").softmax(1).to("f32");
  y.mul(g.detach()).sum().backward();
  const ofSoftmax = x.grad!.clone();
  x.zeroGrad();
  normalized.backward(g.detach());
  return {
    softmax: y.detach(),
    halves,
    logSumExp: x.detach().logSumExp(1),
    layerNorm: normalized.detach(),
    softmaxGradient: ofSoftmax,
    layerNormGradient: x.grad!.clone(),
    weightGradient: w.grad!.clone(),
    biasGradient: b.grad!.clone(),
  };
}

/** Sums and extremes of `[R, C]` over either axis and both. */
function reductions(device: Device, [R, C]: readonly [number, number]): Record<string, Tensor> {
  const x = device.tensor(randomValues(R * C, 5), { shape: [R, C] });
  const whole = x.mul(100).to("i32");
  return Object.fromEntries([undefined, 0, 1].flatMap((axis) => {
    const options = axis === undefined ? {} : { axis };
    return [
      [`sum ${axis}`, x.sum(options)],
      [`mean ${axis}`, x.to("bf16").mean(options).to("f32")],
      [`max ${axis}`, x.max(options)],
      [`min of i32 ${axis}`, whole.min(options).to("f32")],
      [`sum of a view ${axis}`, x.transpose(0, 1).sum(options)],
      [`sum of bools ${axis}`, x.gt(0).sum(options).to("f32")],
    ];
  }));
}

async function assertAgree(
  compute: (device: Device, shape: readonly [number, number]) => Record<string, Tensor>,
  shapes: readonly (readonly [number, number])[],
): Promise<void> {
  for (const shape of shapes) {
    const expected = compute(device, shape);
    for (const gpu of GPUS) {
      for (const [name, tensor] of Object.entries(compute(gpu, shape))) {
        const what = `${name} of ${shape}, subgroups of ${gpu.info.subgroupSize}`;
        // Orders of summation differ: rounding of up to some thousand terms, and a step of a half.
        const atol = name === "halves" ? 1e-3 : name.startsWith("mean") ? 4e-3 : 3e-5;
        assertAllClose(await read(tensor), await read(expected[name]!), {
          atol,
          rtol: 1e-5,
          message: what,
        });
      }
    }
  }
}

describe("the forms that kernels have on a GPU", () => {
  it("agree with those on a CPU, over rows of all lengths", async () => {
    const more = beyondCore([3, 8], [37, 64], [3, 4096], [2, 5000]);
    await assertAgree(overRows, [[5, 1], [9, 33], [5, 768], ...more]);
  });

  it("agree with those on a CPU, in reductions", async () => {
    await assertAgree(reductions, [[7, 3], [300, 64], [2000, 2]]);
    await assertAgree(reductions, [[1, 20_001], [20_004, 1]]);
  });

  it("give the same bits every time", async () => {
    for (const gpu of GPUS) {
      const [first, second] = [overRows(gpu, [9, 768]), overRows(gpu, [9, 768])];
      for (const name of Object.keys(first)) {
        assertEquals(await first[name]!.data(), await second[name]!.data(), name);
      }
    }
  });

  it("let NaN come through extremes and softmax", async () => {
    for (const gpu of GPUS) {
      const values = randomValues(2 * 64, 1);
      values[70] = NaN;
      using x = gpu.tensor(values, { shape: [2, 64] });
      const [first, second] = await x.max({ axis: 1 }).data();
      assertEquals([Number.isNaN(first), Number.isNaN(second)], [false, true]);
      const across = await x.min({ axis: 0 }).data();
      assertEquals(across.findIndex((value) => Number.isNaN(value)), 6);
      const soft = await x.softmax(1).data();
      assertEquals(soft.findIndex((value) => Number.isNaN(value)), 64);
    }
  });
});
