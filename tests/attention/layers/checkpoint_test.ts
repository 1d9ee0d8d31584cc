/** Checkpointed blocks give the gradients of plain ones, dropout included, and keep less. */
import { Block, checkpoint, type Device, type Tensor, tidy } from "@denoformers/attention";
import { assertEquals, assertLess } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { assertNoLeak, sharedDevice } from "../../_device.ts";

const device: Device = await sharedDevice();

const DROPS = { projDrop: 0.2, attnDrop: 0.3, dropPath: 0.1 };

/** Three blocks with dropout everywhere, whose random numbers start over with each call. */
function blocks(): Block[] {
  return [1, 2, 3].map((seed) => new Block(device, 16, { numHeads: 2, ...DROPS, seed }));
}

/** Gradients of the input and of all parameters, and the highest memory in use above the start. */
async function run(forward: (block: Block, x: Tensor) => Tensor) {
  using x = device.randn([4, 20, 16], { seed: 7, requiresGrad: true });
  const layers = blocks();
  const before = device.memory().allocatedBytes;
  device.resetPeakMemory();
  tidy(() => {
    const y = layers.reduce((tokens, block) => forward(block, tokens), x as Tensor);
    y.square().sum().backward();
  });
  const peak = device.memory().peakBytes - before;
  const gradients = [];
  for (const tensor of [x, ...layers.flatMap((layer) => layer.parameters())]) {
    gradients.push([...await tensor.grad!.data()]);
  }
  for (const layer of layers) layer.dispose();
  return { gradients, peak };
}

describe("checkpoint() of blocks with dropout", () => {
  it("gives the very gradients of plain ones, with less memory", async () => {
    const plain = await run((block, x) => block.forward(x));
    const saved = await run((block, x) => checkpoint((tokens: Tensor) => block.forward(tokens), x));
    assertEquals(saved.gradients, plain.gradients);
    assertLess(saved.peak, 0.6 * plain.peak); // One block's tensors at a time instead of three's.
  });

  it("leaves no memory behind", async () => {
    await assertNoLeak(device, async () => {
      await run((block, x) => checkpoint((tokens: Tensor) => block.forward(tokens), x));
    });
  });
});
