/** Changing a tensor's elements where they are. */
import { isDense } from "../array.ts";
import { isGradEnabled } from "../autograd/mode.ts";
import { assign } from "../ops/updates.ts";
import { formatShape, sameShape } from "../shape.ts";
import { arrayOn, tensorParts, variableOf } from "./base.ts";
import type { Tensor } from "./tensor.ts";

/** Overwrites a tensor; all tensors on its memory change. Nothing is recorded. */
export function copyFrom(target: Tensor, source: Tensor): void {
  const { device, runtime, array } = tensorParts(target);
  const from = arrayOn(device, source, "copyFrom", "source");
  assertRewritable(target);
  if (source.requiresGrad && isGradEnabled()) {
    throw new Error(
      "Cannot copyFrom: gradients flow to the source and would be lost, detach() it or use noGrad()",
    );
  }
  if (!sameShape(array.layout.shape, from.layout.shape)) {
    throw new RangeError(
      `Cannot copyFrom: source has shape ${formatShape(from.layout.shape)}, ` +
        `expected ${formatShape(array.layout.shape)}`,
    );
  }
  if (!isDense(array)) {
    throw new RangeError(
      `Cannot copyFrom: the tensor of shape ${formatShape(array.layout.shape)} is a view whose ` +
        "elements do not fill its memory in order from the start; copy into the whole tensor",
    );
  }
  assign(runtime, array, from);
}

/** Throws where a change would make gradients wrong. */
function assertRewritable(target: Tensor): void {
  const { node, requiresGrad } = variableOf(target);
  if (node) {
    throw new Error(
      `Cannot copyFrom: the tensor was computed by ${node.name}, which is recorded, so its gradient would be ` +
        "wrong; detach() it, or compute it in noGrad()",
    );
  }
  if (requiresGrad && isGradEnabled()) {
    throw new Error(
      "Cannot copyFrom: the tensor is a leaf that requires gradients, change it within noGrad()",
    );
  }
}
