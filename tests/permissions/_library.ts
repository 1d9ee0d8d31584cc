/**
 * A program without permissions: attention forward and backward, a training step, weights to bytes and back, and
 * choices by measurement. Asking for a permission throws; so does reading the environment or a file without one.
 */
import {
  AdamW,
  Attention,
  loadSafetensors,
  LowerTriangularMask,
  memoryEfficientAttention,
  requestDevice,
  saveSafetensors,
  tidy,
} from "@denoformers/attention";

const asked = () => {
  throw new Error("the library asked for a permission");
};
Object.assign(Deno.permissions, { request: asked, requestSync: asked });
Object.assign(globalThis, { prompt: asked, confirm: asked, alert: asked });

using device = await requestDevice();
using x = device.randn([1, 20, 2, 8], { seed: 1, requiresGrad: true });
tidy(() => {
  memoryEfficientAttention(x, x, x, { attnBias: new LowerTriangularMask() }).sum().backward();
});
using layer = new Attention(device, 16, { numHeads: 2, seed: 2 });
const before = await layer.parameters()[0]!.data();
const optimizer = new AdamW(layer.parameters());
tidy(() => {
  layer.forward(device.ones([1, 5, 16])).square().sum().backward();
  optimizer.step();
});
const after = await layer.parameters()[0]!.data();
const file = await saveSafetensors(layer.stateDict());
const loaded = tidy(() => Object.keys(loadSafetensors(device, file)).length);
const result = {
  gradient: (await x.grad!.data()).some((value) => value !== 0),
  stepped: after.some((value, i) => value !== before[i]),
  loaded,
  sources: [...new Set(device.tuning().map(({ source }) => source))].sort(),
};
// deno-lint-ignore no-console -- what the test reads
console.log(JSON.stringify(result));
