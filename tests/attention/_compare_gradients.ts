/** Differentiates attention on the device and holds the gradients against the float64 reference. */
import {
  type AttentionOps,
  type Device,
  memoryEfficientAttention,
  memoryEfficientAttentionPartial,
  type Tensor,
  tidy,
} from "@denoformers/attention";
import { assertAllClose } from "@denoformers/attention/testing";
import { assertEquals } from "@std/assert";
import { referenceAttentionGradients } from "../../attention/reference_gradients.ts";
import { numel } from "../../gpu/shape.ts";
import { nanPadded } from "../_device.ts";
import {
  type Case,
  describeCase,
  type FloatName,
  type Host,
  type HostInputs,
  hostInputs,
  randomValues,
  referenceOptions,
  rounded,
  type Tolerance,
} from "./_compare.ts";

/** What to differentiate. */
export interface GradientCase extends Omit<Case, "op"> {
  readonly op?: AttentionOps;
  /** The incoming gradient: strided between NaN, one row for all of them, or one number for all elements. */
  readonly upstream?: "padded" | "row" | "scalar";
  /** Whether the log-sum-exp has a gradient too. */
  readonly lseGradient?: boolean;
}

/** Gradients of a case, or what they should be. */
export type GradientsOf = Readonly<Record<"query" | "key" | "value", Host>> & {
  readonly bias: Host | undefined;
};

/** Tolerances of upstream's gradient tests, whose inputs have a standard deviation of 3. */
export const UPSTREAM_GRADIENTS: Readonly<Record<FloatName, Tolerance>> = {
  f32: { atol: 9e-4, rtol: 1e-4 },
  f16: { atol: 0.2, rtol: 2e-2 },
  bf16: { atol: 0.9, rtol: 0.1 },
};

/**
 * For inputs and incoming gradients of standard deviation 1, by the inputs' type. In f32, 5e-6 is five times the
 * largest error seen on any driver (1.1e-6); sums over many keys or queries are larger than 1, hence rtol.
 * Of halves, gradients are rounded (2^-12 and 2^-9 below 1), and D is computed from an output that was, which
 * changes every dS by its weight times as much; errors seen are 2.5e-4 and 2.6e-3.
 */
export const TIGHT_GRADIENTS: Readonly<Record<FloatName, Tolerance>> = {
  f32: { atol: 5e-6, rtol: 5e-6 },
  f16: { atol: 5e-4, rtol: 5e-4 },
  bf16: { atol: 5e-3, rtol: 5e-3 },
};

/**
 * Numbers of standard deviation 1 as a view of larger memory, for which kernels are compiled anyway; rows that
 * begin at multiples of four elements have their own.
 */
export function randomView(
  device: Device,
  shape: readonly number[],
  seed: number,
  options: { readonly requiresGrad?: boolean } = {},
): Tensor {
  const view = nanPadded(device, randomValues(numel(shape), seed), shape);
  view.requiresGrad = options.requiresGrad ?? false;
  return view;
}

/** Compares the gradients of all inputs that have one. */
export async function assertGradientsMatchReference(
  device: Device,
  testCase: GradientCase,
  tolerance: Tolerance = TIGHT_GRADIENTS[testCase.dtype ?? "f32"],
): Promise<void> {
  const inputs = hostInputs(testCase as Case);
  const upstream = upstreamOf(testCase);
  const found = await gradientsOnDevice(device, testCase, inputs, upstream);
  const expected = expectedGradients(testCase, inputs, upstream);
  for (const [name, host] of Object.entries(expected)) {
    const message = `gradient of ${name}, ${describeCase(testCase as Case)}`;
    const gradient = found[name as keyof GradientsOf];
    assertEquals(gradient?.shape, host?.shape, message);
    if (host) assertAllClose(gradient!, host, { ...tolerance, message });
  }
}

/** Gradients of the output and of the log-sum-exp; all their elements, even where one stands for many. */
interface Upstream {
  readonly out: Host;
  readonly lse: Host | undefined;
}

function upstreamOf(
  { query, value, upstream = "padded", lseGradient, spread, dtype = "f32", outputDtype = dtype }:
    GradientCase,
): Upstream {
  const shape = [...query.slice(0, -1), value.at(-1)!];
  const stored = { padded: numel(shape), row: shape.at(-1)!, scalar: 1 }[upstream];
  const few = rounded(randomValues(stored, 5, spread), outputDtype);
  const data = Float32Array.from({ length: numel(shape) }, (_, at) => few[at % stored]!);
  const [B, Mq, ...heads] = query.slice(0, -1) as [number, number, ...number[]];
  const lseShape = [B, ...(heads.length > 0 ? heads : [1]), Mq];
  const lse = { shape: lseShape, data: randomValues(numel(lseShape), 6, spread) };
  return { out: { shape, data }, lse: lseGradient ? lse : undefined };
}

/** By autograd. */
async function gradientsOnDevice(
  device: Device,
  testCase: GradientCase,
  { q, k, v, bias }: HostInputs,
  upstream: Upstream,
): Promise<GradientsOf> {
  const { mask, boolean, alibi, p, seed = 7, scale, op, padded = true } = testCase;
  const { dtype = "f32", biasDtype = dtype, outputDtype = dtype } = testCase;
  fillIdleMemory(device, [q, k, v]);
  const upload = ({ shape, data }: Host, type = dtype): Tensor =>
    padded ? nanPadded(device, data, shape, type) : device.tensor(data, { shape, dtype: type });
  const leaves = tidy(() => {
    const leaf = (host: Host, type = dtype) => {
      const tensor = upload(host, type);
      tensor.requiresGrad = true;
      return tensor;
    };
    const [query, key, value] = [q, k, v].map((host) => leaf(host)) as [Tensor, Tensor, Tensor];
    const added = bias &&
      (boolean
        ? device.tensor(bias.data, { shape: bias.shape, dtype: "bool" })
        : leaf(bias, biasDtype));
    const options = {
      attnBias: mask && added ? mask.addBias(added) : mask ?? added,
      alibiSlopes: alibi,
      p,
      seed,
      scale,
      op,
      outputDtype,
    };
    const gradient = upstreamTensor(device, testCase, upstream.out, outputDtype);
    if (upstream.lse) {
      const { out, lse } = memoryEfficientAttentionPartial(query, key, value, options);
      const lseGradient = upload(upstream.lse, "f32");
      out.to("f32").mul(gradient.to("f32")).sum().add(lse.mul(lseGradient).sum()).backward();
    } else {
      memoryEfficientAttention(query, key, value, options).backward(gradient);
    }
    return { query, key, value, bias: boolean ? undefined : added };
  });
  const read = async (leaf: Tensor): Promise<Host> => {
    assertEquals(leaf.grad!.dtype, leaf.dtype);
    const host = { shape: leaf.shape, data: Float32Array.from(await leaf.grad!.data()) };
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

/** Always at odd places in memory, so that no kernel is compiled for rows that are not. */
function upstreamTensor(
  device: Device,
  { upstream = "padded" }: GradientCase,
  { shape, data }: Host,
  dtype: FloatName,
): Tensor {
  if (upstream === "padded") return nanPadded(device, data, shape, dtype);
  const few = shape.map((size, axis) => upstream === "row" && axis === shape.length - 1 ? size : 1);
  return nanPadded(device, data.slice(0, numel(few)), few, dtype).expand(shape);
}

/** Makes what gradients are going to be written to NaN, so that elements that no kernel writes show. */
function fillIdleMemory(device: Device, hosts: readonly Host[]): void {
  tidy(() => hosts.forEach(({ shape }) => device.full(shape, NaN)));
}

function expectedGradients(
  testCase: GradientCase,
  inputs: HostInputs,
  { out, lse }: Upstream,
): GradientsOf {
  const heads = testCase.query.length === 5 ? testCase.query[3]! : undefined;
  // The reference wants as many heads of 5-D keys and values as of queries.
  const [key, value] = [inputs.k, inputs.v].map((host) => repeatHeads(host, heads));
  const { dQuery, dKey, dValue, dBias } = referenceAttentionGradients(
    inputs.q,
    key!,
    value!,
    out,
    { ...referenceOptions(testCase as Case, inputs), ...(lse ? { lseGradient: lse } : {}) },
  );
  return {
    query: dQuery,
    key: sumHeads(dKey, inputs.k.shape),
    value: sumHeads(dValue, inputs.v.shape),
    bias: dBias,
  } as unknown as GradientsOf;
}

interface Values {
  readonly shape: readonly number[];
  readonly data: ArrayLike<number>;
}

/** One head of `[B, M, G, 1, K]` as so many. */
function repeatHeads({ shape, data }: Values, heads: number | undefined): Values {
  if (heads === undefined || shape[3] === heads) return { shape, data };
  const dim = shape[4]!;
  const row = heads * dim;
  const repeated = Float64Array.from(
    { length: data.length * heads },
    (_, at) => data[Math.floor(at / row) * dim + at % dim]!,
  );
  return { shape: shape.with(3, heads), data: repeated };
}

/** The sum over heads that {@linkcode repeatHeads} made of one. */
export function sumHeads({ shape, data }: Values, own: readonly number[]): Values {
  if (shape.length < 5 || shape[3] === own[3]) return { shape, data };
  const [heads, dim] = shape.slice(3) as [number, number];
  const sums = new Float64Array(numel(own));
  for (let at = 0; at < data.length; at++) {
    sums[Math.floor(at / (heads * dim)) * dim + at % dim]! += data[at]!;
  }
  return { shape: own, data: sums };
}
