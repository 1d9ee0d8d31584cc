/** What a step of a random walk can be: every kind of public operation, with right and with wrong arguments. */
import {
  cat,
  checkpoint,
  customFunction,
  type Device,
  noGrad,
  stack,
  type Tensor,
  tidy,
} from "@denoformers/attention";
import { runtimeOf } from "../../gpu/device.ts";
import type { Kernel } from "../../gpu/runtime/kernels.ts";
import { arrayOf } from "../../gpu/tensor/base.ts";
import { type Action, choose, pick } from "./_action.ts";
import { ATTENTION_ACTIONS } from "./_actions_attention.ts";
import type { Step } from "./_walk.ts";

const SHAPES = [[4], [2, 6], [3, 4, 5], [1, 7], [0, 3], [33, 5], [2, 2, 2, 2], []];
const FLOATS = ["f32", "f16", "bf16"] as const;
const AXES = [0, 1, -1];

function shapeOf({ variant }: Step): readonly number[] {
  return choose(SHAPES, variant);
}

/** A result of one tensor, chosen from several functions. */
function byVariant(functions: readonly ((x: Tensor, step: Step) => Tensor | Tensor[])[]): Action {
  return (walk, step) => {
    const x = pick(walk, step.first);
    return tidy(() => [choose(functions, step.variant)(x, step)].flat());
  };
}

/** A result of two tensors, often such as do not go together. */
function ofTwo(functions: readonly ((x: Tensor, y: Tensor) => Tensor)[]): Action {
  return (walk, step) => {
    const [x, y] = [pick(walk, step.first), pick(walk, step.second)];
    return tidy(() => [choose(functions, step.variant)(x, y)]);
  };
}

const square = customFunction({
  name: "square_on_purpose",
  forward: (context, x: Tensor) => {
    context.save(x);
    return x.mul(x);
  },
  backward: ({ saved: [x] }, gradient) => x!.mul(gradient).mul(2),
});

const failing = customFunction({
  name: "failing",
  forward: (context, x: Tensor) => {
    context.save(x, x.mul(2));
    return x.add(1);
  },
  backward: (_, gradient) => {
    gradient.add(1);
    throw new Error("on purpose, in a backward pass");
  },
});

const BROKEN: Kernel = {
  label: "broken_on_purpose",
  bindings: ["write"],
  source: "fn main() { return no_such_function(1); }",
};

/** A leaf of its own, which the caller disposes with all that follows from it. */
function leaf(device: Device, { variant }: Step): Tensor {
  return device.randn([3, 4], { seed: variant, requiresGrad: true });
}

const MADE_OF_LEAVES: readonly ((x: Tensor) => Tensor)[] = [
  (x) => x.exp().mul(x).add(1),
  (x) => x.softmax().slice(0, 1),
  (x) => x.layerNorm().gelu(),
  (x) => x.matmul(x.transpose(0, 1)),
  (x) => x.div(2).to("f16").to("f32"),
  (x) => square(x.neg()),
  (x) => checkpoint((x) => x.tanh().mul(3), x),
  (x) => cat([x, x.add(1)], 1).sum({ axis: 0 }),
  (x) => stack([x, x.relu()]).max({ axis: 0 }),
  (x) => x.indexSelect(0, [2, 0, 0]).dropout(0.5, { seed: 3 }),
  (x) => x.logSumExp().unsqueeze(0).expand([2, 3]),
  (x) => x.where(x.gt(0), x.mul(0.1)),
];

/** All actions, by name. */
export const ACTIONS = {
  create: ({ device }, step) => {
    const { variant } = step;
    const [shape, dtype] = [shapeOf(step), choose(FLOATS, variant)];
    const makers = [
      () => device.zeros(shape, { dtype }),
      () => device.ones(shape, { dtype: "bool" }),
      () => device.full(shape, 3, { dtype: "i32" }),
      () => device.arange(0, variant % 40),
      () => device.rand(shape, { seed: variant, dtype }),
      () => device.randn(shape, { seed: variant, dtype }),
      () => device.tensor([[1, 2], [3, 4]], { dtype }),
      () => device.tensor(new Float32Array(variant % 9)),
      () => device.randn(shape, { requiresGrad: true }),
    ];
    return [choose(makers, step.first)()];
  },

  createWrongly: ({ device }, { first, variant }) => {
    const wrong = [
      () => device.zeros([-1]),
      () => device.tensor([1, 2, 3], { shape: [2] }),
      () => device.rand([4], { seed: -1 }),
      () => device.randn([2], { dtype: "i32" }),
      () => device.zeros([2 ** 20, 2 ** 20]),
      () => device.full([2], 0.5, { dtype: "i32" }),
      () => device.ones([variant], { dtype: "bool", requiresGrad: true }),
    ];
    return [choose(wrong, first)()];
  },

  view: byVariant([
    (x) => x.reshape([-1]),
    (x) => x.transpose(0, -1),
    (x, { second }) => x.slice(0, second % 3),
    (x) => x.slice(-1, 0, undefined, 2),
    (x, { second }) => x.select(0, second % 3),
    (x) => x.expand([2, ...x.shape]),
    (x) => x.squeeze(),
    (x) => x.unsqueeze(0),
    (x) => x.permute(x.shape.map((_, i) => x.ndim - 1 - i)),
    (x) => x.unbind(0),
    (x) => x.chunk(2),
    (x) => x.detach(),
    (x) => x.reshape([7, 11]),
  ]),

  copy: byVariant([
    (x) => x.contiguous(),
    (x) => x.clone(),
    (x, { first }) => x.to(choose(FLOATS, first)),
    (x) => x.to("bool"),
    (x) => x.to("i32"),
    (x) => x.transpose(0, 1).contiguous(),
  ]),

  unary: byVariant([
    (x) => x.neg().exp(),
    (x) => x.abs().sqrt().rsqrt(),
    (x) => x.square().log(),
    (x) => x.sin().cos().tanh(),
    (x) => x.sigmoid().relu().gelu(),
    (x, { second }) => x.dropout(0.3, { seed: second }),
    (x) => x.dropout(0),
    (x) => x.add(1).mul(2).sub(3).div(4),
    (x) => x.maskedFill(x.gt(0), -1),
    (x) => x.where(x.lt(1), 0),
    (x) => x.logicalNot(),
  ]),

  reduce: byVariant([
    (x, { second }) => x.sum({ axis: choose(AXES, second) }),
    (x) => x.mean(),
    (x, { second }) => x.max({ axis: choose(AXES, second), keepDim: true }),
    (x) => x.min(),
    (x, { second }) => x.softmax(choose(AXES, second)),
    (x) => x.logSumExp(),
    (x) => x.layerNorm(),
  ]),

  binary: ofTwo([
    (x, y) => x.add(y),
    (x, y) => x.mul(y),
    (x, y) => x.maximum(y),
    (x, y) => x.lt(y),
    (x, y) => x.matmul(y),
    (x, y) => x.matmul(x.transpose(-1, -2)).add(y),
    (x, y) => cat([x, y]),
    (x, y) => stack([x, y]),
    (x, y) => x.where(y, 1),
    (x, y) => x.logicalAnd(y),
    (x, y) => x.indexSelect(0, y),
  ]),

  copyFrom: (walk, { first, second }) => {
    pick(walk, first).copyFrom(pick(walk, second));
  },

  ...ATTENTION_ACTIONS,

  backward: (walk, step) => {
    const x = leaf(walk.device, step);
    walk.keep([x]); // Also if a second pass is refused.
    tidy(() => {
      const y = choose(MADE_OF_LEAVES, step.variant)(x);
      y.sum().backward(undefined, { retainGraph: step.first % 2 === 0 });
      if (step.second % 3 === 0) y.sum().backward();
    });
  },

  graphHeld: ({ device }, step) => {
    using x = leaf(device, step);
    return tidy(() => [choose(MADE_OF_LEAVES, step.variant)(x)]);
  },

  backwardOfHeld: (walk, { first }) => {
    using sum = pick(walk, first).sum();
    sum.backward();
  },

  gradientDropped: (walk, { first }) => {
    pick(walk, first).zeroGrad();
  },

  train: (walk, { first, variant }) => {
    return [walk.theModel().train(variant, first % 3 === 0)];
  },

  evaluate: (walk, { variant }) => {
    return [walk.theModel().evaluate(variant)];
  },

  disposeModel: (walk) => {
    walk.model?.[Symbol.dispose]();
    walk.model = undefined;
  },

  read: async (walk, { first, variant }) => {
    const x = pick(walk, first);
    const reads = [() => x.data(), () => x.toArray(), () => x.format(), () => x.item()];
    await choose(reads, variant)();
  },

  readsAtOnce: async (walk, { first, second }) => {
    const [x, y] = [pick(walk, first), pick(walk, second)];
    await Promise.all([x.data(), y.data(), x.format(), walk.device.sync()]);
  },

  readDisposedMeanwhile: async ({ device }, { variant }) => {
    const x = device.randn([40, 3], { seed: variant });
    using view = x.transpose(0, 1);
    const reads = [x.data(), view.data()];
    x.dispose();
    await Promise.all(reads);
    await x.data(); // Refused.
  },

  dispose: ({ tensors }, { first, second }) => {
    if (tensors.length === 0) return;
    const [x] = tensors.splice(first % tensors.length, 1);
    x!.dispose();
    if (second % 2 === 0) x!.dispose(); // Harmless.
  },

  disposeAll: ({ tensors }) => {
    for (const tensor of tensors.splice(0)) tensor.dispose();
  },

  tidy: (walk, { first, second, variant }) => {
    const x = pick(walk, first);
    return tidy(() => {
      const y = noGrad(() => x.add(1).mul(x));
      const inner = tidy(() => ({ kept: y.sum(), list: [y.reshape([-1])] }));
      if (variant % 4 === 0) pick(walk, second).add(x).matmul(x);
      if (variant % 4 === 1) throw new Error("on purpose, in a tidy");
      return variant % 4 === 2 ? [y, inner.kept] : inner.list;
    });
  },

  failInForward: ({ device }, step) => {
    using x = leaf(device, step);
    const thrower = customFunction({
      name: "thrower",
      forward: (context, x: Tensor) => {
        context.save(x.add(1));
        throw new Error("on purpose, in a forward pass");
      },
      backward: () => undefined,
    });
    thrower(x);
  },

  failInBackward: ({ device }, step) => {
    using x = leaf(device, step);
    tidy(() => failing(square(x)).sum().backward());
  },

  failInCheckpoint: ({ device }, step) => {
    using x = leaf(device, step);
    tidy(() => checkpoint((x) => failing(x.exp()), x).sum().backward());
  },

  failToCompile: async ({ device }, { variant }) => {
    await device.sync(); // What is enqueued already is not to be condemned with it.
    using x = device.zeros([4]);
    const compile = () =>
      runtimeOf(device).kernels.dispatch(BROKEN, {
        storages: [arrayOf(x).storage],
        params: new Uint32Array(4),
        workgroups: 1,
      });
    if (variant % 2 === 0) {
      compile();
      await device.sync();
    } else {
      await device.profile(compile);
    }
  },

  profile: async (walk, { first, variant }) => {
    const x = pick(walk, first);
    const { result } = await walk.device.profile(async () => {
      if (variant % 3 === 0) await x.data();
      if (variant % 7 === 0) throw new Error("on purpose, in a profile");
      return tidy(() => x.reshape([-1]).add(1));
    });
    return [result];
  },

  measure: ({ device }, { variant }) => {
    const [M, K] = [16 * (1 + variant % 4), 8 * (1 + variant % 2)];
    using x = device.randn([M, K], { seed: variant });
    using y = device.randn([K, M], { seed: variant });
    // A class of problems that is measured at its first use.
    return [tidy(() => x.matmul(y).sum())];
  },

  emptyCache: ({ device }) => {
    device.emptyCache();
  },

  resetPeak: ({ device }) => {
    device.resetPeakMemory();
  },

  forget: (walk, { first }) => {
    walk.hasGarbage = walk.tensors.splice(0, first % 8).length > 0 || walk.hasGarbage;
  },

  collect: async (walk) => {
    await walk.collect();
  },
} satisfies Record<string, Action>;

/** The name of an action. */
export type ActionName = keyof typeof ACTIONS;
