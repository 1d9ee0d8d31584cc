/** Factories, views, arithmetic, autograd. */
import {
  cat,
  checkpoint,
  customFunction,
  linear,
  noGrad,
  requestDevice,
  stack,
  type Tensor,
  tidy,
} from "@denoformers/attention";
import { type Entry, entry, given, nothing, withX } from "./_entry.ts";

const RANDOM: readonly Entry[] = (["rand", "randn"] as const).map((name) =>
  entry(
    `Device.${name}`,
    { shape: "shape", seed: "seed", dtype: "dtype", options: "options" },
    () => ({ shape: [2] }),
    (a, device) => device[name](a.shape, given(a, { seed: a.seed, dtype: a.dtype })),
  )
);

export const FACTORIES: readonly Entry[] = [
  ...RANDOM,
  ...(["zeros", "ones"] as const).map((name) =>
    entry(
      `Device.${name}`,
      { shape: "shape", dtype: "dtype", options: "options" },
      () => ({ shape: [2] }),
      (a, device) => device[name](a.shape, given(a, { dtype: a.dtype })),
    )
  ),
  entry(
    "Device.full",
    { shape: "shape", value: "number", dtype: "dtype", options: "options" },
    () => ({ shape: [2], value: 1 }),
    (a, device) => device.full(a.shape, a.value, given(a, { dtype: a.dtype })),
  ),
  entry(
    "Device.arange",
    { start: "finite", end: "finite", step: "finite", dtype: "dtype", options: "options" },
    () => ({ start: 0, end: 3, step: 1 }),
    (a, device) => device.arange(a.start, a.end, a.step, given(a, { dtype: a.dtype })),
  ),
  entry(
    "Device.tensor",
    { data: "source", shape: "shape", dtype: "dtype", options: "options" },
    () => ({ data: [1, 2] }),
    (a, device) => device.tensor(a.data, given(a, { shape: a.shape, dtype: a.dtype })),
  ),
  entry("Device.profile", { fn: "fn" }, nothing, (a, device) => device.profile(a.fn)),
  entry(
    "requestDevice",
    { options: "options", tune: "tune", limits: "limits" },
    nothing,
    (a) => requestDevice(given(a, { tune: a.tune, limits: a.limits })),
  ),
];

export const VIEWS: readonly Entry[] = [
  entry("Tensor.reshape", { shape: "sizes" }, withX({ shape: [6] }), (a) => a.x.reshape(a.shape)),
  entry(
    "Tensor.expand",
    { shape: "sizes" },
    withX({ shape: [1, 2, 3] }),
    (a) => a.x.expand(a.shape),
  ),
  entry(
    "Tensor.permute",
    { order: "order" },
    withX({ order: [1, 0] }),
    (a) => a.x.permute(a.order),
  ),
  entry(
    "Tensor.transpose",
    { a: "axis", b: "axis" },
    withX({ a: 0, b: 1 }),
    (a) => a.x.transpose(a.a, a.b),
  ),
  entry(
    "Tensor.slice",
    { axis: "axis", start: "index", end: "index", step: "count" },
    withX({ axis: 0, start: 0, step: 1 }),
    (a) => a.x.slice(a.axis, a.start, a.end, a.step),
  ),
  entry(
    "Tensor.select",
    { axis: "axis", index: "index" },
    withX({ axis: 0, index: 0 }),
    (a) => a.x.select(a.axis, a.index),
  ),
  entry("Tensor.unbind", { axis: "axis" }, withX({ axis: 0 }), (a) => a.x.unbind(a.axis)),
  entry(
    "Tensor.chunk",
    { count: "count", axis: "axis" },
    withX({ count: 2, axis: 0 }),
    (a) => a.x.chunk(a.count, a.axis),
  ),
  entry(
    "Tensor.indexSelect",
    { axis: "axis", indices: "indices" },
    withX({ axis: 0, indices: [1] }),
    (a) => a.x.indexSelect(a.axis, a.indices),
  ),
  entry(
    "Tensor.squeeze",
    { axis: "axis" },
    (d) => ({ x: d.ones([1, 3]), axis: 0 }),
    (a) => a.x.squeeze(a.axis),
  ),
  entry("Tensor.unsqueeze", { axis: "axis" }, withX({ axis: 0 }), (a) => a.x.unsqueeze(a.axis)),
  entry("Tensor.to", { dtype: "dtype" }, withX({ dtype: "i32" }), (a) => a.x.to(a.dtype)),
  entry(
    "cat",
    { tensors: "tensors", axis: "axis" },
    (d) => ({ tensors: [d.ones([2, 3])], axis: 0 }),
    (a) => cat(a.tensors, a.axis),
  ),
  entry(
    "stack",
    { tensors: "tensors", axis: "axis" },
    (d) => ({ tensors: [d.ones([2, 3])], axis: 0 }),
    (a) => stack(a.tensors, a.axis),
  ),
];

const BINARY_NAMES = [
  "add",
  "sub",
  "mul",
  "div",
  "pow",
  "maximum",
  "minimum",
  "eq",
  "ne",
  "lt",
  "le",
  "gt",
  "ge",
] as const;

export const ARITHMETIC: readonly Entry[] = [
  ...BINARY_NAMES.map((name) =>
    entry(`Tensor.${name}`, { other: "operand" }, withX({ other: 1 }), (a) => a.x[name](a.other))
  ),
  ...(["logicalAnd", "logicalOr"] as const).map((name) =>
    entry(
      `Tensor.${name}`,
      { other: "tensor" },
      (d) => ({ x: d.ones([2, 3], { dtype: "bool" }), other: d.ones([2, 3], { dtype: "bool" }) }),
      (a) => a.x[name](a.other),
    )
  ),
  entry(
    "Tensor.gelu",
    { approximate: "choice", options: "options" },
    withX(),
    (a) => a.x.gelu(given(a, { approximate: a.approximate })),
  ),
  entry(
    "Tensor.where",
    { condition: "tensor", other: "operand" },
    (d) => ({ x: d.ones([2, 3]), condition: d.ones([2, 3], { dtype: "bool" }), other: 0 }),
    (a) => a.x.where(a.condition, a.other),
  ),
  entry(
    "Tensor.maskedFill",
    { mask: "tensor", value: "number" },
    (d) => ({ x: d.ones([2, 3]), mask: d.ones([2, 3], { dtype: "bool" }), value: 0 }),
    (a) => a.x.maskedFill(a.mask, a.value),
  ),
  entry(
    "Tensor.dropout",
    { p: "probability", seed: "seed", options: "options" },
    withX({ p: 0.5 }),
    (a) => a.x.dropout(a.p, given(a, { seed: a.seed })),
  ),
  ...(["sum", "mean", "max", "min"] as const).map((name) =>
    entry(
      `Tensor.${name}`,
      { axis: "axes", options: "options" },
      withX(),
      (a) => a.x[name](given(a, { axis: a.axis })),
    )
  ),
  entry("Tensor.softmax", { axis: "axis" }, withX({ axis: 0 }), (a) => a.x.softmax(a.axis)),
  entry(
    "Tensor.logSumExp",
    { axis: "axis", options: "options" },
    withX({ axis: 0 }),
    (a) => a.x.logSumExp(a.axis, given(a, {})),
  ),
  entry(
    "Tensor.matmul",
    { other: "tensor" },
    (d) => ({ x: d.ones([2, 3]), other: d.ones([3, 2]) }),
    (a) => a.x.matmul(a.other),
  ),
  entry(
    "Tensor.layerNorm",
    { weight: "tensor", bias: "tensor", epsilon: "positive", options: "options" },
    withX(),
    (a) => a.x.layerNorm(given(a, { weight: a.weight, bias: a.bias, epsilon: a.epsilon })),
  ),
  entry(
    "linear",
    { x: "tensor", weight: "tensor", bias: "tensor" },
    (d) => ({ x: d.ones([2, 3]), weight: d.ones([4, 3]) }),
    (a) => linear(a.x, a.weight, a.bias),
  ),
  entry("Tensor.copyFrom", { source: "tensor" }, withX(), (a) => a.x.copyFrom(a.source)),
];

export const AUTOGRAD: readonly Entry[] = [
  entry(
    "DifferentiableTensor.backward",
    { gradient: "tensor", options: "options" },
    (d) => ({ x: d.ones([2, 3], { requiresGrad: true }) }),
    (a, d) => a.x.mul(2).backward("gradient" in a ? a.gradient : d.ones([2, 3]), given(a, {})),
  ),
  entry("noGrad", { fn: "fn" }, nothing, (a) => noGrad(a.fn)),
  entry("tidy", { fn: "fn" }, nothing, (a) => tidy(a.fn)),
  entry(
    "checkpoint",
    { fn: "fn", inputs: "input" },
    (d) => ({ fn: (x: Tensor) => x.exp(), inputs: d.ones([2]) }),
    (a) => checkpoint(a.fn, a.inputs),
  ),
  entry(
    "customFunction",
    { definition: "options", forward: "fn", backward: "fn", input: "input" },
    (d) => ({
      forward: (_: unknown, x: Tensor) => x.exp(),
      backward: (_: unknown, g: Tensor) => g,
      input: d.ones([2]),
    }),
    (a) =>
      customFunction(
        "definition" in a ? a.definition : { name: "f", forward: a.forward, backward: a.backward },
      )(a.input),
  ),
];
