/**
 * Prints how long attention takes on the GPU, forward: masks, element types, head dims, decoding. Medians of
 * calls one behind the other, so that the clocks of a GPU stay up.
 *
 *     deno task bench
 */
import {
  alibiSlopes,
  type AttentionBias,
  attentionFlops,
  type AttentionForwardOptions,
  BlockDiagonalMask,
  type Device,
  FlashForwardOp,
  LowerTriangularFromBottomRightLocalAttentionMask,
  LowerTriangularMask,
  memoryEfficientAttention,
  type Tensor,
} from "@denoformers/attention";
import { benchDevice, type FloatName, inputs, median, print, scaleFor } from "./_measure.ts";

/** One line: what, time, TFLOP/s by the cells that the mask leaves. */
async function self(
  device: Device,
  [N, H, K]: readonly [number, number, number],
  dtype: FloatName,
  name: string,
  options: AttentionForwardOptions,
): Promise<void> {
  const shape = [1, N, H, K];
  const [q, k, v] = inputs(device, [shape, shape, shape], dtype) as [Tensor, Tensor, Tensor];
  const time = await median(device, () => memoryEfficientAttention(q, k, v, options).dispose(), 20);
  const mask = options.attnBias as AttentionBias | undefined;
  const rate = attentionFlops(q, k, v, { attnBias: mask }).forward / time / 1e9;
  for (const tensor of [q, k, v]) tensor.dispose();
  print(`[${shape}] ${dtype} ${name}`, time, `${rate.toPrecision(3)} TFLOP/s`);
}

/** One line: queries against a cache, time, bytes of keys and values by time. */
async function decode(
  device: Device,
  { queries, heads, keyHeads, keys, K }: Record<
    "queries" | "heads" | "keyHeads" | "keys" | "K",
    number
  >,
  dtype: FloatName,
  options: AttentionForwardOptions = {},
): Promise<void> {
  const cache = [1, keys, keyHeads, K];
  const [q, k, v] = inputs(device, [[1, queries, heads, K], cache, cache], dtype);
  const time = await median(
    device,
    () => memoryEfficientAttention(q!, k!, v!, options).dispose(),
    20,
  );
  for (const tensor of [q, k, v]) tensor!.dispose();
  const bytes = 2 * keys * keyHeads * K * (dtype === "f32" ? 4 : 2);
  const op = options.op ? ` by ${options.op.name}` : "";
  const what = `[1,${queries},${heads},${K}] against [${cache}] ${dtype}${op}`;
  print(what, time, `${(bytes / time / 1e6).toFixed(0)} GB/s`);
}

using device = await benchDevice();
const scale = scaleFor(device);
const N = 4096 / scale;
const H = 16 / (scale > 1 ? 4 : 1);
const masks: Record<string, AttentionForwardOptions> = {
  "no mask": {},
  "causal": { attnBias: new LowerTriangularMask() },
  "window of N/16": { attnBias: new LowerTriangularFromBottomRightLocalAttentionMask(N / 16) },
  "8 packed sequences": { attnBias: BlockDiagonalMask.fromSeqlens(new Array(8).fill(N / 8)) },
  "ALiBi": { alibiSlopes: alibiSlopes(H) },
  "dropout": { p: 0.1, seed: 1 },
};
for (const [name, options] of Object.entries(masks)) {
  await self(device, [N, H, 64], "f32", name, options);
}
for (const dtype of ["f16", "bf16"] as const) await self(device, [N, H, 64], dtype, "no mask", {});
for (const K of [128, 256]) await self(device, [N, H, K], "f32", "no mask", {});
const cache = { queries: 1, heads: H, keyHeads: H, keys: 65_536 / scale, K: 128 };
for (const dtype of ["f32", "f16", "bf16"] as const) await decode(device, cache, dtype);
await decode(device, { ...cache, keyHeads: 1 }, "f32");
await decode(device, { ...cache, queries: 64 }, "f16");
await decode(device, { ...cache, queries: 64 }, "f16", { op: FlashForwardOp });
