/**
 * Memory-efficient attention for WebGPU: exact attention in memory that grows with the length of the
 * sequence instead of its square, with PyTorch's and xformers' names, for Deno and every runtime that
 * has `navigator.gpu`.
 *
 * Letters in shapes: `B` batch, `M` (`Mq`, `Mkv`) sequence, `H` heads, `G` head groups, `K` head dim of
 * query and key, `Kv` head dim of the value.
 *
 * @example Attention over 4,096 tokens
 * ```ts
 * import { memoryEfficientAttention, requestDevice } from "@denoformers/attention";
 *
 * using device = await requestDevice();
 * const q = device.randn([1, 4096, 1, 64], { seed: 1 }); // [B, M, H, K]
 * const k = device.randn([1, 4096, 1, 64], { seed: 2 });
 * const v = device.randn([1, 4096, 1, 64], { seed: 3 });
 * const out = memoryEfficientAttention(q, k, v);
 * await out.print();
 * ```
 *
 * @module
 */
export * from "./gpu/mod.ts";
export * from "./attention/mod.ts";
export * from "./attention/layers/mod.ts";
