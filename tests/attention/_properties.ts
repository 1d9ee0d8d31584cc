/** Properties of single random calls, which tests draw few of, and the fuzzer many. */
import {
  type Device,
  FlashForwardOp,
  MathForwardOp,
  memoryEfficientAttention,
  memoryEfficientAttentionPartial,
  mergeAttentions,
  type Tensor,
  tidy,
} from "@denoformers/attention";
import { assertAllClose } from "@denoformers/attention/testing";
import { assertEquals, assertMatch } from "@std/assert";
import { referenceAttention } from "../../attention/reference.ts";
import { numel } from "../../gpu/shape.ts";
import type { LooseCall, Partition } from "./_arbitraries.ts";
import { randomValues } from "./_compare.ts";
import { makeMask, maskSizes, type MaskSpec, placesBySpec, sees } from "./_mask_specs.ts";

/** Attention to parts of the keys, merged, is attention to all of them. */
export async function assertMergesMatch(
  device: Device,
  { B, Mq, H, Mkv, parts, odd, nested }: Partition,
): Promise<void> {
  const [K, Kv] = odd ? [13, 5] : [16, 16];
  const shapes = [[B, Mq, H, K], [B, Mkv, H, K], [B, Mkv, H, Kv]];
  const hosts = shapes.map((shape, i) => ({ shape, data: randomValues(numel(shape), i + 1) }));
  const { out, lse } = tidy(() => {
    const [q, k, v] = hosts.map(({ shape, data }) => device.tensor(data, { shape }));
    let results = Array.from({ length: Math.max(...parts) + 1 }, (_, part) => {
      const belongs = Array.from({ length: Mkv }, (_, j) => parts[j % parts.length] === part);
      const attnBias = device.tensor(belongs, { shape: [Mkv], dtype: "bool" });
      return memoryEfficientAttentionPartial(q!, k!, v!, { attnBias });
    });
    const merge = (some: typeof results) => {
      const { out, lse } = mergeAttentions(some.map((x) => x.out), some.map((x) => x.lse));
      return { out, lse: lse! };
    };
    const first = results.slice(0, nested);
    if (first.length > 0) results = [merge(first), ...results.slice(nested)];
    return merge(results);
  });
  const read = async (tensor: Tensor) => ({ shape: tensor.shape, data: await tensor.data() });
  const expected = referenceAttention(hosts[0]!, hosts[1]!, hosts[2]!);
  // Averages of numbers below 4, merged by weights of relative error 1e-6.
  assertAllClose(await read(out), expected.out, { atol: 1e-5, rtol: 1e-5 });
  assertAllClose(await read(lse), expected.lse, { atol: 1e-5, rtol: 1e-5 });
  out.dispose();
  lse.dispose();
}

/** The mask materializes by its formula. */
export function assertMaskMatches(spec: MaskSpec): void {
  const { Mq, Mkv } = maskSizes(spec);
  const placeOf = placesBySpec(spec);
  const matrix = makeMask(spec)?.materialize([Mq, Mkv]) ?? new Float32Array(Mq * Mkv);
  const expected = Float32Array.from({ length: Mq * Mkv }, (_, at) => {
    return sees(spec, placeOf(0, Math.floor(at / Mkv), at % Mkv)) ? 0 : -Infinity;
  });
  assertEquals(matrix, expected);
}

/** Asserts that it throws an error of the kinds, and in the form, that wrong arguments give. */
export function assertRefused(run: () => unknown): void {
  let thrown: unknown;
  let result: unknown;
  try {
    result = run();
  } catch (error) {
    thrown = error;
  }
  if (!(thrown instanceof TypeError || thrown instanceof RangeError)) {
    throw new Error(`expected a refusal, got ${result ?? thrown}`, { cause: thrown });
  }
  // What JavaScript itself throws at a slip begins otherwise.
  assertMatch(thrown.message, /^Cannot (run|make|use|create) .*(expected|differs?)/s);
}

/** Either the call is right by the rules below, and gives its shape, or it is refused. */
export function checkLooseCall(device: Device, call: LooseCall): void {
  const [query, key, value] = call.shapes.map((shape, i) =>
    device.zeros(shape, { dtype: call.dtypes[i]! })
  ) as [Tensor, Tensor, Tensor];
  const options = {
    attnBias: call.bias === undefined
      ? undefined
      : device.zeros(call.bias, { dtype: call.biasDtype }),
    p: call.p,
    seed: call.seed,
    scale: call.scale,
    outputDtype: call.outputDtype,
  };
  if (!isRight(call)) {
    assertRefused(() => memoryEfficientAttention(query, key, value, options));
    assertRefused(() => FlashForwardOp.notSupportedReasons(query, key, value, options));
    return;
  }
  assertEquals(FlashForwardOp.notSupportedReasons(query, key, value, options), []);
  const out = memoryEfficientAttention(query, key, value, { ...options, op: MathForwardOp });
  assertEquals(out.shape, [...query.shape.slice(0, -1), value.shape.at(-1)!]);
}

function isRight(
  { shapes, dtypes, bias, biasDtype, p, seed, scale, outputDtype }: LooseCall,
): boolean {
  const [q, k, v] = shapes as [number[], number[], number[]];
  const rank = q.length;
  const isFloat = (dtype: string) => ["f32", "f16", "bf16"].includes(dtype);
  if (rank < 3 || rank > 5 || k.length !== rank || v.length !== rank) return false;
  if (!isFloat(dtypes[0]!) || dtypes.some((dtype) => dtype !== dtypes[0])) return false;
  if (q[0] !== k[0] || k[0] !== v[0] || k[1] !== v[1] || q.at(-1) !== k.at(-1)) return false;
  if (rank > 3 && k[2] !== v[2]) return false;
  if (rank === 4 && q[2] !== k[2] && !(k[2]! > 0 && q[2]! % k[2]! === 0)) return false;
  if (rank === 5) {
    if (q[2] !== k[2] || [k, v].some((x) => x[3] !== 1 && x[3] !== q[3])) return false;
  }
  if (bias) {
    const full = [q[0]!, ...q.slice(2, -1), q[1]!, k[1]!];
    const missing = full.length - bias.length;
    if (missing < 0 || (!isFloat(biasDtype) && biasDtype !== "bool")) return false;
    if (bias.some((size, i) => size !== 1 && size !== full[i + missing])) return false;
  }
  if (p !== undefined && !(p >= 0 && p <= 1)) return false;
  if (seed !== undefined && !(Number.isSafeInteger(seed) && seed >= 0)) return false;
  return Number.isFinite(scale ?? 0) && isFloat(outputDtype ?? "f32");
}
