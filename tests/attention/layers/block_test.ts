/** A transformer block: timm's weights, outputs and gradients, and stochastic depth. */
import { Block, type BlockOptions, loadSafetensors, tidy } from "@denoformers/attention";
import { assertAllClose } from "@denoformers/attention/testing";
import { assertEquals, assertNotEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { assertNoLeak, sharedDevice } from "../../_device.ts";
import { type Host, host } from "./_host.ts";

const device = await sharedDevice();

/** What timm computed in float64; the script beside the file says what each field is. */
const GOLDEN: {
  readonly options: BlockOptions & { dim: number; epsilon: number };
  readonly x: Host;
  readonly y: Host;
  readonly gradient: Host;
  readonly dX: Host;
  readonly gradients: Readonly<Record<string, Host>>;
} = JSON.parse(Deno.readTextFileSync(fixture("block_golden.json")));

function fixture(name: string): URL {
  return new URL(`../../fixtures/${name}`, import.meta.url);
}

/** A block with timm's weights. */
function loadedBlock(options: BlockOptions = {}): Block {
  const { dim, epsilon: _, ...others } = GOLDEN.options;
  const block = new Block(device, dim, { ...others, ...options });
  tidy(() => {
    block.loadStateDict(loadSafetensors(device, Deno.readFileSync(fixture("block.safetensors"))));
  });
  return block;
}

describe("Block equals timm", () => {
  for (const attention of ["memory-efficient", "math"] as const) {
    it(`in its output and all gradients, with attention: "${attention}"`, async () => {
      using block = loadedBlock({ attention });
      using x = device.tensor(Array.from(GOLDEN.x.data), {
        shape: GOLDEN.x.shape,
        requiresGrad: true,
      });
      using y = block.forward(x);
      // Some ten operations in a row on numbers of size 1 to 10, with sums of up to 128 products.
      assertAllClose(await host(y), GOLDEN.y, { atol: 2e-5, rtol: 1e-5 });
      using gradient = device.tensor(Array.from(GOLDEN.gradient.data), {
        shape: GOLDEN.gradient.shape,
      });
      y.backward(gradient);
      const named = block.namedParameters();
      assertEquals(named.map(([name]) => name).sort(), Object.keys(GOLDEN.gradients).sort());
      for (const [name, tensor] of [["x", x] as const, ...named]) {
        const expected = name === "x" ? GOLDEN.dX : GOLDEN.gradients[name]!;
        const largest = Math.max(...Array.from(expected.data, Math.abs));
        // Gradients are sums over tokens that cancel: measured by the largest of a tensor.
        assertAllClose(await host(tensor.grad!), expected, {
          atol: 1e-5 * Math.max(1, largest),
          rtol: 0,
        });
      }
    });
  }
});

describe("Block", () => {
  const [B, N, C] = [2, 5, 8];

  it("has timm's weights under timm's names, scales and norms only if asked for", () => {
    using block = new Block(device, C, { numHeads: 2, projBias: false });
    assertEquals(Object.keys(block.stateDict()), [
      "norm1.weight",
      "norm1.bias",
      "attn.qkv.weight",
      "attn.proj.weight",
      "norm2.weight",
      "norm2.bias",
      "mlp.fc1.weight",
      "mlp.fc2.weight",
    ]);
    assertEquals(block.mlp.fc1.weight.shape, [4 * C, C]);
    assertEquals(block.norm1.epsilon, 1e-6);
  });

  it("drops its branches in training and not in evaluation, the same for the same seed", async () => {
    using x = device.randn([B, N, C], { seed: 1 });
    const run = async (options: BlockOptions, mode: "train" | "eval") => {
      using block = new Block(device, C, { numHeads: 2, seed: 2, ...options })[mode]();
      using y = block.forward(x);
      return await y.data();
    };
    const plain = await run({}, "train");
    for (
      const options of [{ attnDrop: 0.5 }, { projDrop: 0.5 }, { dropPath: 0.5 }] as BlockOptions[]
    ) {
      assertEquals(await run(options, "eval"), plain);
      const dropped = await run(options, "train");
      assertNotEquals(dropped, plain, JSON.stringify(options));
      assertEquals(await run(options, "train"), dropped);
    }
    assertEquals(await run({ dropPath: 1 }, "train"), await x.data());
  });

  it("leaves no tensor behind but its result, also with its graph", async () => {
    using block = new Block(device, C, { numHeads: 2, initValues: 1, qkNorm: true, dropPath: 0.5 });
    using x = device.randn([B, N, C], { seed: 1 });
    const { tensors } = device.memory();
    const y = block.forward(x);
    assertEquals(device.memory().tensors, tensors + 1);
    y.dispose();
    await assertNoLeak(device, () => {
      tidy(() => block.forward(x).sum().backward());
      block.zeroGrad();
    });
  });

  it("refuses wrong options, before it allocates", () => {
    const { tensors } = device.memory();
    const refuses = (options: BlockOptions, message: string) =>
      assertThrows(() => new Block(device, C, { numHeads: 2, ...options }), RangeError, message);
    refuses({ numHeads: 3 }, "dim is 8 and numHeads 3");
    refuses({ mlpRatio: 0.1 }, "dim * mlpRatio is 0, expected a whole number >= 1");
    refuses({ dropPath: 2 }, "dropPath is 2");
    refuses({ projDrop: -1 }, "projDrop is -1");
    assertEquals(device.memory().tensors, tensors);
  });
});
