// deno-lint-ignore-file no-console -- a program whose output is read
/** Attention over lengths, each result read back, for ever. */
import { memoryEfficientAttention, requestDevice, tidy } from "@denoformers/attention";

const device = await requestDevice({ tune: false });
for (let round = 0;; round++) {
  for (const length of [16, 64, 256]) {
    const x = device.randn([1, length, 2, 16], { seed: 1 });
    using total = tidy(() => memoryEfficientAttention(x, x, x).sum());
    x.dispose();
    await total.item();
  }
  if (round === 0) console.log("round");
}
