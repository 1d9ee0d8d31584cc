/** Makes the tensors of a random call, runs it, and holds the result against the float64 reference. */
import {
  ALL_FORWARD_OPS,
  type AttentionForwardOp,
  type AttentionOptions,
  type Device,
  memoryEfficientAttentionForwardRequiresGrad,
  type Tensor,
  tidy,
} from "@denoformers/attention";
import { assertAllClose } from "@denoformers/attention/testing";
import {
  referenceAttention,
  type ReferenceBias,
  type ReferenceOptions,
} from "../../attention/reference.ts";
import { numel } from "../../gpu/shape.ts";
import type { CallSpec, ViewSpec } from "./_arbitraries.ts";
import { randomValues, rounded } from "./_compare.ts";
import { makeMask, maskSizes, placesBySpec, sees } from "./_mask_specs.ts";
import { keptFactor } from "./_places.ts";

/** An array on the host as it is stored, and the shape that it stands for: axes of size 1 may stand for more. */
export interface Host {
  readonly stored: readonly number[];
  readonly data: Float32Array;
  readonly shape: readonly number[];
}

/** Everything that is passed, on the host. */
export interface Inputs {
  readonly query: Host;
  readonly key: Host;
  readonly value: Host;
  readonly bias: Host | undefined;
  readonly slopes: Host | undefined;
}

/** Half of a last bit: what rounding the result to a type may change, relative to it. */
const ROUNDING = { f32: 0, f16: 2 ** -11, bf16: 2 ** -8 } as const;

/** Runs the call and its reference, and compares output and log-sum-exp. */
export async function assertCallMatches(device: Device, spec: CallSpec): Promise<void> {
  const { compiled: { outputDtype, dropout }, p } = spec;
  const inputs = inputsOf(spec);
  const { out, lse } = await compute(device, spec, inputs);
  const expected = expectedOf(spec, inputs);
  // Scores stay below some 40, where a float's last bit is 4e-6; that is the relative error of a weight,
  // and values are below 4. Dropout multiplies both.
  assertAllClose(out, expected.out, {
    atol: 2e-5 / (dropout && p < 1 ? 1 - p : 1),
    rtol: 2e-5 + ROUNDING[outputDtype],
    equalNan: true,
    message: "output",
  });
  const message = "log-sum-exp";
  assertAllClose(lse, expected.lse, { atol: 1e-5, rtol: 1e-5, equalNan: true, message });
}

/** Shapes of query, key and value. */
function shapesOf(
  { compiled: { K, Kv }, mask, rank, groups, heads, shared }: CallSpec,
): number[][] {
  const { B, Mq, Mkv } = maskSizes(mask);
  if (rank === 3) return [[B, Mq, K], [B, Mkv, K], [B, Mkv, Kv]];
  if (rank === 4) {
    return [[B, Mq, groups * heads, K], [B, Mkv, groups, K], [B, Mkv, groups, Kv]];
  }
  const [keyHeads, valueHeads] = shared.map((one) => one ? 1 : heads);
  return [
    [B, Mq, groups, heads, K],
    [B, Mkv, groups, keyHeads!, K],
    [B, Mkv, groups, valueHeads!, Kv],
  ];
}

/** What a call takes, the same numbers each time. */
export function inputsOf(spec: CallSpec): Inputs {
  const { compiled: { dtype }, numbers, views, poison } = spec;
  const tensors = shapesOf(spec).map((shape, which): Host => {
    const { expanded } = views[which]!;
    const canExpand = expanded >= 0 && expanded < shape.length - 1 && shape[expanded]! > 0;
    const stored = canExpand ? shape.with(expanded, 1) : shape;
    const data = rounded(randomValues(numel(stored), 3 * numbers + which), dtype);
    if (which > 0 && poison > 0) {
      const row = numel(stored.slice(2));
      for (let at = 0; at < data.length; at++) {
        const key = Math.floor(at / row) % stored[1]!;
        if (key % poison === numbers % poison) data[at] = NaN;
      }
    }
    return { stored, data, shape };
  });
  const [query, key, value] = tensors as [Host, Host, Host];
  return {
    query,
    key,
    value,
    bias: biasOf(spec),
    slopes: slopesOf(spec),
  };
}

function biasOf(spec: CallSpec): Host | undefined {
  const { compiled: { bias: kind }, mask, rank, groups, heads, bias, numbers } = spec;
  if (kind === "none") return undefined;
  const { B, Mq, Mkv } = maskSizes(mask);
  const full = { 3: [B, Mq, Mkv], 4: [B, groups * heads, Mq, Mkv], 5: [B, groups, heads, Mq, Mkv] };
  const shape = full[rank].map((size, axis) => bias.ones[axis] ? 1 : size).slice(bias.missing);
  const chances = randomValues(numel(shape), 3 * numbers + 5);
  const values = randomValues(numel(shape), 3 * numbers + 4);
  // Between -0.75 and 0.75 these are nearly uniform; 1 hides all.
  const isHidden = (at: number) => chances[at]! / 1.5 + 0.5 < bias.hidden || bias.hidden === 1;
  const data = values.map((x, at) =>
    kind === "bool" ? (isHidden(at) ? 0 : 1) : isHidden(at) ? -Infinity : x
  );
  return { stored: shape, shape, data: kind === "bool" ? data : rounded(data, kind) };
}

function slopesOf({ compiled, mask, rank, groups, heads, slopes, numbers }: CallSpec) {
  if (!compiled.alibi) return undefined;
  const { B } = maskSizes(mask);
  const H = rank === 3 ? 1 : groups * heads;
  const shape = slopes === "tensor per batch" ? [B, H] : [H];
  // Up to 1/2, as those in use: scores then fall by up to 35 over 70 keys.
  const data = randomValues(numel(shape), 3 * numbers + 6).map((x) => Math.abs(x) / 6);
  return { stored: shape, shape, data };
}

async function compute(device: Device, spec: CallSpec, inputs: Inputs) {
  const { out, lse } = tidy(() => {
    const { query, key, value, options } = upload(device, spec, inputs);
    return memoryEfficientAttentionForwardRequiresGrad(query, key, value, {
      ...options,
      op: forwardOpOf(spec),
    });
  });
  const read = async (tensor: Tensor) => ({ shape: tensor.shape, data: await tensor.data() });
  const result = { out: await read(out), lse: await read(lse) };
  out.dispose();
  lse.dispose();
  return result;
}

/** The op that a call insists on. */
export function forwardOpOf({ compiled: { op } }: CallSpec): AttentionForwardOp | undefined {
  return ALL_FORWARD_OPS.find(({ name }) => name === op);
}

/** The arguments of a call as tensors; the bias alone as well. */
export function upload(device: Device, spec: CallSpec, inputs: Inputs) {
  const { compiled: { dtype, bias: biasDtype, aligned, ...compiled }, views, seed } = spec;
  const [query, key, value] = [inputs.query, inputs.key, inputs.value].map((host, which) =>
    placed(device, host, dtype, views[which]!, aligned[which]!)
  ) as [Tensor, Tensor, Tensor];
  const { bias: biasHost, slopes } = inputs;
  const bias = biasHost && biasDtype !== "none"
    ? placed(device, biasHost, biasDtype, spec.bias.view, false)
    : undefined;
  const mask = makeMask(spec.mask);
  const options: AttentionOptions = {
    attnBias: mask && bias ? mask.addBias(bias) : mask ?? bias,
    alibiSlopes: slopes && spec.slopes === "list"
      ? [...slopes.data]
      : slopes && placed(device, slopes, "f32", views[0], false),
    p: compiled.dropout ? spec.p : undefined,
    seed,
    scale: scaleOf(spec),
    outputDtype: compiled.outputDtype,
  };
  return { query, key, value, bias, options };
}

function scaleOf({ scale, compiled: { K } }: CallSpec): number | undefined {
  return scale === undefined ? undefined : scale * K ** -0.5;
}

/**
 * A tensor of these values somewhere in larger memory that is NaN (true for a bool one) everywhere else.
 * Aligned, its rows are dense and begin at multiples of four elements; else the first one begins at 4n + 1.
 */
export function placed(
  device: Device,
  { stored, data, shape }: Host,
  dtype: "f32" | "f16" | "bf16" | "bool",
  { order, before, after, step }: ViewSpec,
  aligned: boolean,
): Tensor {
  const rank = stored.length;
  const innermost = (axis: number) => aligned && axis === rank - 1;
  const axes = stored.map((_, axis) => axis)
    .sort((a, b) => (innermost(a) ? 9 : order[a]!) - (innermost(b) ? 9 : order[b]!));
  const pad = (list: readonly number[], axis: number) =>
    innermost(axis) ? 4 * list[axis]! : list[axis]!;
  const stepOf = (axis: number) => innermost(axis) ? 1 : step[axis]!;
  const sizes = axes.map((axis) =>
    pad(before, axis) + stored[axis]! * stepOf(axis) + pad(after, axis)
  );
  const strideOf = (axis: number) => numel(sizes.slice(axes.indexOf(axis) + 1));
  const corner = axes.reduce((sum, axis) => sum + pad(before, axis) * strideOf(axis), 0);
  const lead = aligned ? 4 : 1 + (4 - corner % 4) % 4;
  const memory = new Float32Array(lead + numel(sizes)).fill(dtype === "bool" ? 1 : NaN);
  const strides = stored.map((_, axis) => strideOf(axis) * stepOf(axis));
  for (let at = 0; at < data.length; at++) {
    let rest = at;
    let position = lead + corner;
    for (let axis = rank - 1; axis >= 0; axis--) {
      position += rest % stored[axis]! * strides[axis]!;
      rest = Math.floor(rest / stored[axis]!);
    }
    memory[position] = data[at]!;
  }
  let view = device.tensor(memory, { dtype }).slice(0, lead).reshape(sizes);
  for (const [inMemory, axis] of axes.entries()) {
    const from = pad(before, axis);
    view = view.slice(inMemory, from, from + stored[axis]! * stepOf(axis), stepOf(axis));
  }
  return view.permute(stored.map((_, axis) => axes.indexOf(axis))).expand(shape);
}

/** A stored array with every element of its shape. */
export function filled({ stored, data, shape }: Host) {
  const out = new Float32Array(numel(shape));
  for (let at = 0; at < out.length; at++) {
    let rest = at;
    let position = 0;
    let stride = 1;
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      if (stored[axis] !== 1) position += rest % shape[axis]! * stride;
      rest = Math.floor(rest / shape[axis]!);
      stride *= stored[axis]!;
    }
    out[at] = data[position]!;
  }
  return { shape, data: out };
}

function expectedOf(spec: CallSpec, inputs: Inputs) {
  const { query, key, value, options } = referenceCall(spec, inputs);
  return referenceAttention(query, key, value, options);
}

/** The arguments of the reference, which wants as many heads of keys as of values. */
export function referenceCall(spec: CallSpec, { query, key, value, bias, slopes }: Inputs) {
  const { compiled, mask, rank, heads, p, seed } = spec;
  const whole = (host: Host) =>
    filled(rank === 5 ? { ...host, shape: host.shape.with(3, heads) } : host);
  const placeOf = placesBySpec(mask);
  const scale = scaleOf(spec);
  const boolean = compiled.bias === "bool";
  const referenceBias: ReferenceBias | undefined = bias &&
    { shape: bias.shape, data: bias.data, boolean };
  const options: ReferenceOptions = {
    ...(scale === undefined ? {} : { scale }),
    ...(referenceBias ? { bias: referenceBias } : {}),
    allowed: (b, _h, i, j) => sees(mask, placeOf(b, i, j)),
    ...(slopes
      ? {
        added: (b, h, i, j) => {
          const { row, key, queries, keys } = placeOf(b, i, j)!;
          const slope = slopes.data[slopes.shape.length === 2 ? b * slopes.shape[1]! + h : h]!;
          return -slope * Math.abs(row + keys - queries - key);
        },
      }
      : {}),
    ...(compiled.dropout && p > 0
      ? { factor: (b, h, i, j) => p === 1 ? 0 : keptFactor(p, seed, h, placeOf(b, i, j)!) }
      : {}),
  };
  return { query: whole(query), key: whole(key), value: whole(value), options };
}
