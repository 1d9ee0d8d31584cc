import { type Device, requestDevice, type Tensor } from "@denoformers/attention";
import { assertAllClose } from "@denoformers/attention/testing";
import { assertEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { runtimeOf } from "../../../gpu/device.ts";
import { roundedTo } from "../../../gpu/dtype.ts";
import {
  type AdamwSettings,
  adamwStep,
  assign,
  type SgdSettings,
  sgdStep,
} from "../../../gpu/ops/updates.ts";
import { arrayOf } from "../../../gpu/tensor/base.ts";
import { assertNoLeak, nanPadded, sharedDevice } from "../../_device.ts";
import { randomValues } from "../_values.ts";

const device = await sharedDevice();

/** Some operations on numbers near 1, each rounded once; division and roots by 2.5 ulp. */
const TOLERANCE = { atol: 1e-6, rtol: 1e-6 };

function assigned(target: Tensor, source: Tensor): void {
  assign(runtimeOf(target.device), arrayOf(target), arrayOf(source));
}

function sgd(p: Tensor, g: Tensor, momentum: Tensor | undefined, settings: SgdSettings): void {
  const arrays = { parameter: arrayOf(p), gradient: arrayOf(g) };
  const buffer = momentum ? { momentum: arrayOf(momentum) } : {};
  sgdStep(runtimeOf(p.device), { ...arrays, ...buffer }, settings);
}

function adamw(p: Tensor, g: Tensor, [m, v]: readonly Tensor[], settings: AdamwSettings): void {
  const arrays = { parameter: arrayOf(p), gradient: arrayOf(g) };
  adamwStep(runtimeOf(p.device), { ...arrays, mean: arrayOf(m!), square: arrayOf(v!) }, settings);
}

const SGD: SgdSettings = {
  learningRate: 0.1,
  momentum: 0,
  dampening: 0,
  weightDecay: 0,
  nesterov: false,
  isFirst: false,
  maximize: false,
};

const ADAMW: AdamwSettings = {
  learningRate: 0.01,
  beta1: 0.9,
  beta2: 0.999,
  epsilon: 1e-8,
  weightDecay: 0.1,
  step: 1,
  maximize: false,
};

/** `torch.optim.SGD` in 64-bit floats: changes the lists. */
function naiveSgd(p: number[], g: readonly number[], buffer: number[], settings: SgdSettings) {
  const { learningRate, momentum, dampening, weightDecay, nesterov, isFirst, maximize } = settings;
  p.forEach((value, i) => {
    const gradient = (maximize ? -g[i]! : g[i]!) + weightDecay * value;
    let along = gradient;
    if (momentum !== 0) {
      buffer[i] = isFirst ? gradient : momentum * buffer[i]! + (1 - dampening) * gradient;
      along = nesterov ? gradient + momentum * buffer[i]! : buffer[i]!;
    }
    p[i] = value - learningRate * along;
  });
}

/** `torch.optim.AdamW` in 64-bit floats: changes the lists. */
function naiveAdamw(
  p: number[],
  g: readonly number[],
  m: number[],
  v: number[],
  { learningRate, beta1, beta2, epsilon, weightDecay, step, maximize }: AdamwSettings,
) {
  p.forEach((value, i) => {
    const gradient = maximize ? -g[i]! : g[i]!;
    m[i] = beta1 * m[i]! + (1 - beta1) * gradient;
    v[i] = beta2 * v[i]! + (1 - beta2) * gradient ** 2;
    const root = Math.sqrt(v[i]!) / Math.sqrt(1 - beta2 ** step) + epsilon;
    const decayed = value * (1 - learningRate * weightDecay);
    p[i] = decayed - learningRate / (1 - beta1 ** step) * m[i]! / root;
  });
}

describe("assign()", () => {
  it("writes elements of any type and any strides in place", async () => {
    await assertNoLeak(device, async () => {
      const values = randomValues(21, 1, 0, 9).map(Math.round);
      for (const dtype of ["f32", "f16", "bf16", "i32", "u32", "bool"] as const) {
        using target = device.zeros([3, 7], { dtype });
        using strided = nanPadded(device, values, [3, 7]);
        assigned(target, strided);
        const expected = [...values].map((v) => dtype === "bool" ? Number(v !== 0) : v);
        assertEquals([...await target.data()], expected, dtype);
        using same = device.full([3, 7], 1, { dtype });
        assigned(target, same);
        assertEquals([...await target.data()], new Array(21).fill(1), dtype);
      }
    });
  });

  it("leaves what lies behind in the storage as it is", async () => {
    for (const dtype of ["f16", "bool"] as const) {
      using whole = device.ones([8], { dtype });
      using head = whole.slice(0, 0, 5);
      using zeros = device.zeros([5], { dtype });
      assigned(head, zeros);
      assertEquals([...await whole.data()], [0, 0, 0, 0, 0, 1, 1, 1], dtype);
    }
  });

  it("takes a view of the target itself", async () => {
    using x = device.tensor([[1, 2], [3, 4]]);
    using turned = x.transpose(0, 1);
    assigned(x, turned);
    assertEquals([...await x.data()], [1, 3, 2, 4]);
  });

  it("takes empty arrays, and throws for views and other shapes", () => {
    using none = device.zeros([0, 3]);
    assigned(none, none);
    using x = device.zeros([2, 3]);
    using view = x.slice(1, 1, 3);
    using square = device.zeros([2, 2]);
    assertThrows(
      () => assigned(view, square),
      RangeError,
      "Cannot assign: the target has strides [3, 1] and offset 1, expected a dense array",
    );
    assertThrows(
      () => assigned(x, square),
      RangeError,
      "Cannot assign: the source has shape [2, 2], expected [2, 3]",
    );
  });
});

describe("sgdStep()", () => {
  it("follows PyTorch's formula over several steps, under every setting", async () => {
    const cases: Partial<SgdSettings>[] = [
      {},
      { weightDecay: 0.1, maximize: true },
      { momentum: 0.9 },
      { momentum: 0.9, dampening: 0.5, weightDecay: 0.1 },
      { momentum: 0.9, nesterov: true, maximize: true },
    ];
    await assertNoLeak(device, async () => {
      for (const given of cases) {
        const p = [...randomValues(35, 1)];
        using parameter = device.tensor(p, { shape: [5, 7] });
        // Before the first step its contents are arbitrary.
        using momentum = device.full([5, 7], NaN);
        const buffer = new Array<number>(35).fill(NaN);
        for (let step = 1; step <= 3; step++) {
          const settings = { ...SGD, ...given, isFirst: step === 1 };
          const g = [...randomValues(35, 10 + step)];
          using gradient = nanPadded(device, g, [5, 7]);
          sgd(parameter, gradient, settings.momentum === 0 ? undefined : momentum, settings);
          naiveSgd(p, g, buffer, settings);
          assertAllClose(await parameter.data(), p, TOLERANCE);
        }
      }
    });
  });

  it("rounds a parameter of halves once a step, and keeps its momentum in f32", async () => {
    const settings = { ...SGD, momentum: 0.9, weightDecay: 0.1 };
    for (const dtype of ["f16", "bf16"] as const) {
      using parameter = device.tensor(randomValues(35, 1), { dtype });
      using wide = parameter.to("f32");
      using gradient = nanPadded(device, randomValues(35, 2), [35], dtype);
      using momentum = device.tensor(randomValues(35, 3));
      using wideMomentum = momentum.clone();
      sgd(parameter, gradient, momentum, settings);
      sgd(wide, gradient, wideMomentum, settings);
      assertEquals(await momentum.data(), await wideMomentum.data());
      const expected = [...await wide.data()].map((value) => roundedTo(dtype, value));
      assertEquals([...await parameter.data()], expected);
    }
  });

  it("leaves what lies behind in the storage as it is", async () => {
    using whole = device.ones([4], { dtype: "f16" });
    using head = whole.slice(0, 0, 3);
    using gradient = device.ones([3]);
    sgd(head, gradient, undefined, { ...SGD, learningRate: 1 });
    assertEquals([...await whole.data()], [0, 0, 0, 1]);
  });

  it("takes the parameter itself for a gradient", async () => {
    using parameter = device.tensor([1, 2]);
    sgd(parameter, parameter, undefined, { ...SGD, learningRate: 0.5 });
    assertEquals([...await parameter.data()], [0.5, 1]);
  });
});

describe("adamwStep()", () => {
  it("follows PyTorch's formula over several steps", async () => {
    await assertNoLeak(device, async () => {
      for (const given of [{}, { maximize: true, weightDecay: 0, epsilon: 0.1, beta1: 0.5 }]) {
        const [p, m, v] = [[...randomValues(35, 1)], new Array(35).fill(0), new Array(35).fill(0)];
        using parameter = device.tensor(p, { shape: [5, 7] });
        using mean = device.zeros([5, 7]);
        using square = device.zeros([5, 7]);
        for (let step = 1; step <= 3; step++) {
          const settings = { ...ADAMW, ...given, step };
          const g = [...randomValues(35, 10 + step)];
          using gradient = nanPadded(device, g, [5, 7]);
          adamw(parameter, gradient, [mean, square], settings);
          naiveAdamw(p, g, m, v, settings);
          assertAllClose(await parameter.data(), p, TOLERANCE);
          assertAllClose(await mean.data(), m, TOLERANCE);
          assertAllClose(await square.data(), v, TOLERANCE);
        }
      }
    });
  });

  it("does not move by a gradient of 0", async () => {
    using parameter = device.tensor([2, -3]);
    using gradient = device.zeros([2]);
    using mean = device.zeros([2]);
    using square = device.zeros([2]);
    adamw(parameter, gradient, [mean, square], { ...ADAMW, weightDecay: 0 });
    assertEquals([...await parameter.data()], [2, -3]);
  });

  it("takes halves and empty arrays", async () => {
    using parameter = device.tensor([1, -1, 0.5], { dtype: "bf16" });
    using gradient = device.tensor([1, -2, 0], { dtype: "f16" });
    using mean = device.zeros([3]);
    using square = device.zeros([3]);
    adamw(parameter, gradient, [mean, square], { ...ADAMW, learningRate: 0.25, weightDecay: 0 });
    // The first step is that of the gradient's sign.
    assertEquals([...await parameter.data()], [0.75, -0.75, 0.5]);
    using none = device.zeros([0]);
    adamw(none, none, [none, none], ADAMW);
    assertEquals((await none.data()).length, 0);
  });
});

describe("steps", () => {
  it("give the same bits where a binding shows only parts of the arrays", async () => {
    const small = await requestDevice({
      tune: false,
      limits: { maxStorageBufferBindingSize: 2 ** 16 },
    });
    const compute = async (on: Device, dtype: "f32" | "f16") => {
      using parameter = on.tensor(randomValues(40_001, 1), { dtype });
      using columns = on.tensor(randomValues(80_002, 2), { shape: [2, 40_001] });
      using gradient = columns.transpose(0, 1).select(1, 1);
      using spread = on.tensor(randomValues(80_002, 3), { shape: [40_001, 2] }).select(1, 0);
      using mean = on.zeros([40_001]);
      using square = on.zeros([40_001]);
      adamw(parameter, gradient, [mean, square], ADAMW);
      sgd(parameter, spread, mean, { ...SGD, momentum: 0.9 });
      using target = on.zeros([40_001], { dtype });
      assigned(target, parameter);
      return [await target.data(), await mean.data(), await square.data()];
    };
    for (const dtype of ["f32", "f16"] as const) {
      assertEquals(await compute(small, dtype), await compute(device, dtype), dtype);
    }
    small.dispose();
  });

  it("throw before any work where arrays do not fit each other", () => {
    using p = device.zeros([2, 3]);
    using g = device.zeros([2, 3]);
    using row = device.zeros([3]);
    using view = device.zeros([3, 2]).transpose(0, 1);
    using half = device.zeros([2, 3], { dtype: "f16" });
    using whole = device.zeros([2, 3], { dtype: "i32" });
    const momentum = { ...SGD, momentum: 0.9 };
    const text = "Cannot take a step: ";
    assertThrows(
      () => sgd(p, row, undefined, SGD),
      RangeError,
      `${text}the gradient has shape [3], expected [2, 3]`,
    );
    assertThrows(
      () => sgd(view, g, undefined, SGD),
      RangeError,
      `${text}the parameter has strides [1, 2] and offset 0, expected a dense array`,
    );
    assertThrows(
      () => sgd(whole, g, undefined, SGD),
      TypeError,
      `${text}the parameter has dtype i32, expected f32, f16 or bf16`,
    );
    assertThrows(
      () => sgd(p, whole, undefined, SGD),
      TypeError,
      `${text}the gradient has dtype i32`,
    );
    assertThrows(
      () => sgd(p, g, undefined, momentum),
      TypeError,
      `${text}momentum is 0.9 and there is no array for it`,
    );
    assertThrows(
      () => sgd(p, g, half, momentum),
      TypeError,
      `${text}momentum has dtype f16, expected f32`,
    );
    assertThrows(
      () => adamw(p, g, [g, row], ADAMW),
      RangeError,
      `${text}square has shape [3], expected [2, 3]`,
    );
  });
});
