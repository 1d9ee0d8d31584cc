/** Gradients by autograd, and by the function for them, against what PyTorch's autograd computed. */
import {
  ALL_BACKWARD_OPS,
  type AttentionBackwardOp,
  type AttentionBias,
  memoryEfficientAttention,
  memoryEfficientAttentionBackward,
  memoryEfficientAttentionForwardRequiresGrad,
  type Tensor,
  tidy,
} from "@denoformers/attention";
import { assertAllClose } from "@denoformers/attention/testing";
import { assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { nanPadded, sharedDevice } from "../_device.ts";
import { isCore } from "../_extent.ts";
import { TIGHT_GRADIENTS } from "./_compare_gradients.ts";
import { GRADIENT_CASES, type GradientCase, numbers, type Stored } from "./_gradient_golden.ts";
import { makeGolden } from "./masks/_golden.ts";

const device = await sharedDevice();

/** Each has kernels of its own. */
const CASES = GRADIENT_CASES.filter((_, n) => !isCore || n % 2 === 0);

/** The arguments of a case on the device. */
function upload(testCase: GradientCase, mask: AttentionBias | undefined) {
  const { scale, bias, slopes } = testCase;
  const place = (stored: Stored) => {
    const { shape, data } = numbers(stored);
    return nanPadded(device, data, shape);
  };
  const added = bias &&
    (bias.boolean
      ? device.tensor(numbers(bias).data, { shape: bias.shape, dtype: "bool" })
      : place(bias));
  return {
    query: place(testCase.query),
    key: place(testCase.key),
    value: place(testCase.value),
    gradient: place(testCase.gradient),
    bias: bias?.boolean ? undefined : added,
    options: {
      attnBias: mask && added ? mask.addBias(added) : mask ?? added,
      alibiSlopes: slopes,
      scale,
    },
  };
}

async function assertGradients(
  { dQuery, dKey, dValue, dBias }: GradientCase,
  gradients: readonly (Tensor | undefined)[],
): Promise<void> {
  for (const [n, stored] of [dQuery, dKey, dValue, dBias].entries()) {
    const gradient = gradients[n];
    assertEquals(gradient !== undefined, stored !== undefined);
    if (!gradient) continue;
    // Inputs of standard deviation 1, as TIGHT_GRADIENTS has it.
    assertAllClose({ shape: gradient.shape, data: await gradient.data() }, numbers(stored!), {
      ...TIGHT_GRADIENTS.f32,
      message: `gradient ${n} of query, key, value and bias`,
    });
    gradient.dispose();
  }
}

/** By `backward()`. */
function recorded(op: AttentionBackwardOp, testCase: GradientCase, mask?: AttentionBias) {
  return tidy(() => {
    const { query, key, value, gradient, bias, options } = upload(testCase, mask);
    const leaves = [query, key, value, ...(bias ? [bias] : [])];
    for (const leaf of leaves) leaf.requiresGrad = true;
    const ops = [undefined, op] as const;
    memoryEfficientAttention(query, key, value, { ...options, op: ops }).backward(gradient);
    return leaves.map((leaf) => leaf.grad!.clone());
  });
}

/** By `memoryEfficientAttentionBackward()`. */
function byFunction(op: AttentionBackwardOp, testCase: GradientCase, mask?: AttentionBias) {
  return tidy(() => {
    const { query, key, value, gradient, bias, options } = upload(testCase, mask);
    const { out, lse } = memoryEfficientAttentionForwardRequiresGrad(query, key, value, options);
    const result = memoryEfficientAttentionBackward(gradient, out, lse, query, key, value, {
      ...options,
      biasGrad: bias !== undefined,
      op,
    });
    return [result.dQuery, result.dKey, result.dValue, result.dBias];
  });
}

for (const op of ALL_BACKWARD_OPS) {
  describe(`${op.name} agrees with PyTorch's autograd`, () => {
    for (const testCase of CASES) {
      it(`on ${testCase.name}`, async () => {
        const mask = testCase.made.length > 0 ? await makeGolden(testCase) : undefined;
        for (const differentiate of [recorded, byFunction]) {
          await assertGradients(testCase, differentiate(op, testCase, mask));
        }
      });
    }
  });
}
