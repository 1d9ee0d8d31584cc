/**
 * Prints how long attention takes on the GPU, forward and backward together, as a training step has it: masks,
 * element types, head dims, the gradient of a bias. Medians of calls one behind the other.
 *
 *     deno task bench
 */
import {
  AttentionBias,
  attentionFlops,
  LowerTriangularMask,
  memoryEfficientAttention,
  type MemoryEfficientAttentionOptions,
  Tensor,
} from "@denoformers/attention";
import { benchDevice, type FloatName, inputs, median, print, scaleFor } from "./_measure.ts";

using device = await benchDevice();
const scale = scaleFor(device);
const N = 4096 / scale;
const H = 16 / (scale > 1 ? 4 : 1);

/** One line: what, time, TFLOP/s by the cells that the mask leaves, five products backward to two forward. */
async function step(
  name: string,
  { K = 64, keyHeads = H, dtype = "f32" }: { K?: number; keyHeads?: number; dtype?: FloatName },
  options: MemoryEfficientAttentionOptions = {},
): Promise<void> {
  const [shape, keyShape] = [[1, N, H, K], [1, N, keyHeads, K]];
  const tensors = inputs(device, [shape, keyShape, keyShape, shape], dtype);
  const [q, k, v, gradient] = tensors as [Tensor, Tensor, Tensor, Tensor];
  const { attnBias } = options;
  const leaves = [q, k, v, ...(attnBias instanceof Tensor ? [attnBias] : [])];
  for (const leaf of leaves) leaf.requiresGrad = true;
  const run = () => {
    using out = memoryEfficientAttention(q, k, v, options);
    out.backward(gradient);
    for (const leaf of leaves) leaf.zeroGrad();
  };
  const time = await median(device, run, 10);
  const mask = attnBias instanceof AttentionBias ? attnBias : undefined;
  const { forward, backward } = attentionFlops(q, k, v, { attnBias: mask });
  for (const tensor of tensors) tensor.dispose();
  const rate = `${((forward + backward) / time / 1e9).toPrecision(3)} TFLOP/s`;
  print(`[${shape}] ${dtype} ${name}, forward + backward`, time, rate);
}

await step("no mask", {});
await step("causal", {}, { attnBias: new LowerTriangularMask() });
await step("dropout", {}, { p: 0.1, seed: 1 });
await step("4 heads a key head", { keyHeads: H / 4 });
await step("no mask", { dtype: "f16" });
for (const K of [128, 256]) await step("no mask", { K });
using bias = device.randn([1, H, N, N], { seed: 9 });
await step("bias with gradient", {}, { attnBias: bias });
