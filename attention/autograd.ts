/** Attention as an operation that a backward pass knows. */
import { isRecorded, noteEnd, record } from "../gpu/autograd/record.ts";
import type { Gradients } from "../gpu/autograd/graph.ts";
import { withLayout } from "../gpu/array.ts";
import { arrayOf, tensorParts } from "../gpu/tensor/base.ts";
import { Tensor } from "../gpu/tensor/tensor.ts";
import { type BackwardOp, chooseOp, type ForwardResult } from "./dispatch.ts";
import { groupedOutput, splitHeads } from "./grouped_heads.ts";
import { type AttentionInputs, attentionInputs } from "./inputs.ts";
import type { MemoryEfficientAttentionOptions } from "./memory_efficient_attention.ts";
import { BACKWARD_OPS, backwardOpBehind, forwardOpBehind, forwardOpsFor } from "./ops/mod.ts";

/**
 * Computes attention and records it, if any of its inputs requires gradients: the log-sum-exp is then computed
 * too, and saved together with inputs and output.
 *
 * @param name Name of the public function, for messages.
 * @param wantsLse Whether the log-sum-exp is a result as well, with gradients of its own.
 */
export function recordedAttention(
  name: string,
  query: Tensor,
  key: Tensor,
  value: Tensor,
  options: MemoryEfficientAttentionOptions,
  wantsLse: boolean,
): ForwardResult {
  const { op } = options;
  const inputs = attentionInputs(name, query, key, value, options);
  const [forward, backward] = Array.isArray(op)
    ? op
    : [op as Exclude<typeof op, readonly unknown[]>];
  const forced = forward === undefined ? undefined : forwardOpBehind(name, forward);
  const forwardOp = chooseOp(name, inputs, forwardOpsFor(inputs), forced);
  const slopes = options.alibiSlopes instanceof Tensor ? options.alibiSlopes : undefined;
  if (slopes && isRecorded([slopes])) {
    throw new TypeError(
      `Cannot run ${name}: alibiSlopes requires gradients, which ALiBi has none of; detach() the slopes, ` +
        "or add the distances as a tensor bias",
    );
  }
  const bias = inputs.biasTensor;
  if (!isRecorded([query, key, value, bias])) {
    const result = forwardOp.forward(inputs, { lse: wantsLse });
    const outputs = result.lse ? [result.out, result.lse] : [result.out];
    noteEnd([query, key, value, bias], outputs, `${name} ran in noGrad(); compute it outside`);
    return result;
  }
  const backwardOp = chooseOp(
    name,
    inputs,
    BACKWARD_OPS,
    backward === undefined ? undefined : backwardOpBehind(name, backward),
  );
  const { out, lse } = forwardOp.forward(inputs, { lse: true });
  record({
    name,
    inputs: [query, key, value, bias],
    outputs: wantsLse ? [out, lse!] : [out],
    // The op finds the arrays in its inputs; what is saved keeps their memory.
    saves: [query, key, value, bias, slopes, out, lse],
    backward: ([grad, lseGrad], saved, needs) =>
      gradients(backwardOp, inputs, { grad, lseGrad, out: saved[5]!, lse: saved[6]! }, needs),
  });
  if (wantsLse) return { out, lse };
  lse!.dispose();
  return { out, lse: undefined };
}

/** Gradients of query, key, value and bias. */
function gradients(
  op: BackwardOp,
  inputs: AttentionInputs,
  { grad, lseGrad, out, lse }: {
    readonly grad: Tensor | undefined;
    readonly lseGrad: Tensor | undefined;
    readonly out: Tensor;
    readonly lse: Tensor;
  },
  [query, key, value, bias]: readonly boolean[],
): Gradients {
  const { sizes: { G, H } } = inputs;
  // Where only the log-sum-exp has a gradient.
  const outGrad = grad ?? out.device.zeros([1], { dtype: out.dtype }).expand(out.shape);
  const output = (tensor: Tensor) => {
    const array = arrayOf(tensor);
    return withLayout(array, groupedOutput(array.layout, G, H));
  };
  const result = op.backward(inputs, {
    grad: output(outGrad),
    output: output(out),
    lse: groupedLse(lse, G, H),
    isOwnLse: true,
    lseGrad: lseGrad && groupedLse(lseGrad, G, H),
  }, { query: query!, key: key!, value: value!, bias: bias! });
  return [result.query, result.key, result.value, result.bias];
}

/** A log-sum-exp as `[B, G, H, Mq]`. */
export function groupedLse(lse: Tensor, groups: number, heads: number) {
  const { array } = tensorParts(lse);
  const { layout } = array;
  return withLayout(array, layout.shape.length === 4 ? layout : splitHeads(layout, groups, heads));
}
