/// <reference lib="webworker" />
/** A worker with a device of its own. It answers each message by what came of it. */
import { memoryEfficientAttention, requestDevice } from "@denoformers/attention";

self.onmessage = async ({ data: { what } }: MessageEvent<{ what: "attention" | "for ever" }>) => {
  try {
    using device = await requestDevice({ tune: false });
    const x = device.randn([1, 32, 2, 16], { seed: 1 });
    do {
      const out = memoryEfficientAttention(x, x, x);
      self.postMessage({ values: await out.data() });
      out.dispose();
    } while (what === "for ever");
  } catch (error) {
    self.postMessage({ error: `${error}` });
  }
};
