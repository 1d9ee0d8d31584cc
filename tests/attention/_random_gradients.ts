/** Differentiates a random call and holds the gradients against the float64 reference. */
import {
  type AttentionBackwardOp,
  type Device,
  FlashBackwardOp,
  MathBackwardOp,
  memoryEfficientAttention,
  memoryEfficientAttentionPartial,
  type Tensor,
  tidy,
} from "@denoformers/attention";
import { assertAllClose } from "@denoformers/attention/testing";
import { assertEquals } from "@std/assert";
import { referenceAttentionGradients } from "../../attention/reference_gradients.ts";
import { numel } from "../../gpu/shape.ts";
import type { CallSpec, UpstreamSpec } from "./_arbitraries.ts";
import { randomValues, rounded } from "./_compare.ts";
import { sumHeads } from "./_compare_gradients.ts";
import {
  filled,
  forwardOpOf,
  type Host,
  type Inputs,
  inputsOf,
  placed,
  referenceCall,
  upload,
} from "./_random_call.ts";

/**
 * Allowed differences by the results' type. In f32 scores below some 40 are off by 4e-6, and so are weights,
 * relative to themselves; products of an incoming gradient and a value reach some 10, and a query or key
 * that they are multiplied by 4. In bf16 the output's rounding is in every D, and in every gradient.
 */
const TOLERANCES = {
  f32: { atol: 2e-4, rtol: 1e-4 },
  f16: { atol: 2e-2, rtol: 2e-3 },
  bf16: { atol: 0.1, rtol: 2e-2 },
} as const;

/** Runs the call forward and backward, and compares the gradients of query, key, value and bias. */
export async function assertGradientsMatch(
  device: Device,
  spec: CallSpec,
  upstream: UpstreamSpec,
): Promise<void> {
  const { compiled: { op, outputDtype, dropout, bias: biasDtype }, p } = spec;
  // A weight that is NaN and dropped is NaN to mathB, as in PyTorch, and 0 to flashB, as to the reference.
  const inputs = inputsOf(op === "mathF" && dropout ? { ...spec, poison: 0 } : spec);
  const { query, key, value, options } = referenceCall(spec, inputs);
  const gradients = upstreamOf(spec, upstream, query.shape, value.shape);
  const found = await compute(device, spec, inputs, gradients, upstream);
  const { dQuery, dKey, dValue, dBias } = referenceAttentionGradients(
    query,
    key,
    value,
    filled(gradients.out),
    { ...options, ...(upstream.lse ? { lseGradient: gradients.lse } : {}) },
  );
  const expected = {
    query: dQuery,
    key: sumHeads(dKey, inputs.key.shape),
    value: sumHeads(dValue, inputs.value.shape),
    bias: dBias,
  };
  const { atol, rtol } = TOLERANCES[outputDtype];
  for (const [name, host] of Object.entries(expected)) {
    const gradient = found[name as keyof typeof found];
    assertEquals(gradient !== undefined, host !== undefined, name);
    if (!host) continue;
    // Drivers differ in the exponential of NaN, which may be infinite.
    const data = gradient!.data.map((x, at) =>
      Number.isNaN(host.data[at]!) && Math.abs(x) === Infinity ? NaN : x
    );
    assertAllClose({ shape: gradient!.shape, data }, host, {
      // Dropout multiplies what is kept, once in the output and once in a gradient.
      atol: atol / (dropout && p < 1 ? (1 - p) ** 2 : 1),
      rtol: rtol + (name === "bias" && biasDtype === "bf16" ? 2 ** -8 : 0),
      equalNan: true,
      message: `gradient of ${name}`,
    });
  }
}

interface Upstream {
  readonly out: Host;
  readonly lse: Host;
}

function upstreamOf(
  { compiled: { outputDtype }, numbers }: CallSpec,
  { view: { expanded } }: UpstreamSpec,
  query: readonly number[],
  value: readonly number[],
): Upstream {
  const shape = [...query.slice(0, -1), value.at(-1)!];
  const canExpand = expanded >= 0 && expanded < shape.length - 1 && shape[expanded]! > 0;
  const stored = canExpand ? shape.with(expanded, 1) : shape;
  const data = rounded(randomValues(numel(stored), 3 * numbers + 7), outputDtype);
  const [B, Mq, ...heads] = query.slice(0, -1) as [number, number, ...number[]];
  const lse = [B, ...(heads.length > 0 ? heads : [1]), Mq];
  return {
    out: { shape, stored, data },
    lse: { shape: lse, stored: lse, data: randomValues(numel(lse), 3 * numbers + 8) },
  };
}

/** The flash op for all that is not to be computed by the formula. */
function backwardOpOf({ compiled: { op } }: CallSpec): AttentionBackwardOp | undefined {
  if (op === "chosen") return undefined;
  return op === "mathF" ? MathBackwardOp : FlashBackwardOp;
}

async function compute(
  device: Device,
  spec: CallSpec,
  inputs: Inputs,
  upstream: Upstream,
  { view, lse: hasLse }: UpstreamSpec,
) {
  const leaves = tidy(() => {
    const { query, key, value, bias, options } = upload(device, spec, inputs);
    const added = bias?.dtype === "bool" ? undefined : bias;
    for (const leaf of [query, key, value, added]) if (leaf) leaf.requiresGrad = true;
    const gradient = placed(device, upstream.out, spec.compiled.outputDtype, view, false);
    const all = { ...options, op: [forwardOpOf(spec), backwardOpOf(spec)] as const };
    if (hasLse) {
      const { out, lse } = memoryEfficientAttentionPartial(query, key, value, all);
      const lseGradient = placed(device, upstream.lse, "f32", view, false);
      out.mul(gradient).to("f32").sum().add(lse.mul(lseGradient).sum()).backward();
    } else {
      memoryEfficientAttention(query, key, value, all).backward(gradient);
    }
    return { query, key, value, bias: added };
  });
  const read = async (leaf: Tensor) => {
    const host = { shape: leaf.shape, data: await leaf.grad!.data() };
    leaf.dispose();
    return host;
  };
  return {
    query: await read(leaves.query),
    key: await read(leaves.key),
    value: await read(leaves.value),
    bias: leaves.bias && await read(leaves.bias),
  };
}
