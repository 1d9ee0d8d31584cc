/**
 * What a program holds, found by walking from its tensors: their memory, their gradients, and the memory that the
 * graphs behind them have saved. The library counts references instead; the two must agree.
 */
import type { Tensor } from "@denoformers/attention";
import type { Node } from "../../gpu/autograd/graph.ts";
import type { Storage } from "../../gpu/runtime/memory.ts";
import { arrayOf, variableOf } from "../../gpu/tensor/base.ts";

/** As `device.memory()` calls them. */
export interface Held {
  readonly allocatedBytes: number;
  readonly buffers: number;
  readonly tensors: number;
}

/** What is held by tensors of one device, none of them disposed. */
export function heldBy(roots: Iterable<Tensor>): Held {
  const tensors = new Set<Tensor>();
  const storages = new Set<Storage>();
  const nodes = new Set<Node>();
  const openNodes: (Node | undefined)[] = [];
  for (const root of roots) {
    const { grad, node } = variableOf(root);
    tensors.add(root);
    if (grad) tensors.add(grad);
    openNodes.push(node);
  }
  for (const tensor of tensors) storages.add(arrayOf(tensor).storage);
  while (openNodes.length > 0) {
    const node = openNodes.pop();
    if (!node || nodes.has(node)) continue;
    nodes.add(node);
    for (const saved of node.saved ?? []) if (saved) storages.add(saved.array.storage);
    for (const input of node.inputs) openNodes.push(input?.node);
  }
  const allocatedBytes = [...storages].reduce((sum, { buffer }) => sum + buffer.size, 0);
  return { allocatedBytes, buffers: storages.size, tensors: tensors.size };
}
