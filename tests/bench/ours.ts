/** This package, as one of those that are compared. */
import {
  alibiSlopes,
  AttentionBias,
  type AttentionFlops,
  attentionFlops,
  BlockDiagonalMask,
  BlockDiagonalPaddedKeysMask,
  type Device,
  FlashHalfForwardOp,
  LowerTriangularFromBottomRightLocalAttentionMask,
  LowerTriangularMask,
  memoryEfficientAttention,
  type MemoryEfficientAttentionOptions,
  Tensor,
} from "@denoformers/attention";
import type { Case } from "./cases.ts";
import { type HeadReader, type HostInputs, type Prepared, RESULTS } from "./contender.ts";

/** The name of this package in results. */
export const OURS = "denoformers";

/** A case on this package's device. */
export class OurCase implements Prepared {
  /** Query, key and value as they are passed. */
  readonly inputs: Readonly<Record<"query" | "key" | "value" | "gradient", Tensor>>;
  /** Mask, bias, dropout. */
  readonly options: MemoryEfficientAttentionOptions;
  readonly #what: Case;
  #kept: Tensor[] = [];

  /** Makes seeded inputs, the same on every adapter. */
  constructor(device: Device, what: Case) {
    this.#what = what;
    const [query, key] = shapesOf(what);
    const make = (shape: readonly number[], seed: number) =>
      device.randn(shape, { seed, dtype: what.dtype });
    const inputs = { query: make(query, 1), key: make(key, 2), value: make(key, 3) };
    const isTraining = what.pass === "training";
    // Forward has no use for a gradient, and its memory is measured.
    this.inputs = { ...inputs, gradient: isTraining ? make(query, 4) : device.zeros([0]) };
    this.options = optionsOf(device, what);
    if (!isTraining) return;
    for (const leaf of this.#leaves()) leaf.requiresGrad = true;
  }

  /** Operations by the cells that the mask leaves. */
  get flops(): AttentionFlops {
    const { query, key, value } = this.inputs;
    const mask = this.options.attnBias;
    return attentionFlops(query, key, value, {
      attnBias: mask instanceof AttentionBias ? mask : undefined,
    });
  }

  /** Enqueues one call and waits for nothing. */
  enqueue(): void {
    this.#forgetKept();
    for (const tensor of this.#compute()) tensor.dispose();
    this.#zeroGradients();
  }

  /** {@inheritDoc Prepared.run} */
  async run(): Promise<void> {
    this.#forgetKept();
    const results = this.#compute();
    await Promise.all(results.map((tensor) => tensor.data()));
    for (const tensor of results) tensor.dispose();
    this.#zeroGradients();
  }

  /** {@inheritDoc Prepared.results} */
  results(): Promise<HeadReader> {
    this.#forgetKept();
    this.#kept = this.#compute();
    const names: readonly string[] = RESULTS[this.#what.pass];
    return Promise.resolve((name, b, h) => this.head(this.#kept[names.indexOf(name)]!, b, h));
  }

  /** One head of an input or result; a sequence of a packed batch counts as one of the batch. */
  async head(tensor: Tensor, b: number, h: number): Promise<Float32Array> {
    const [inBatch] = tensor.shape as [number];
    using detached = tensor.detach();
    using sequence = detached.select(0, Math.min(b, inBatch - 1));
    using head = sequence.select(1, h);
    return await head.data();
  }

  /** Disposes at the end of a `using` block. */
  [Symbol.dispose](): void {
    this.dispose();
  }

  /** {@inheritDoc Prepared.dispose} */
  dispose(): void {
    this.#forgetKept();
    const { attnBias } = this.options;
    for (const tensor of Object.values(this.inputs)) tensor.dispose();
    if (attnBias instanceof Tensor) attnBias.dispose();
  }

  /** The inputs on the host, for peers. */
  async hostInputs(): Promise<HostInputs> {
    const { query, key, value, gradient } = this.inputs;
    const [a, b, c, d] = await Promise.all([query, key, value, gradient].map((t) => t.data()));
    return { query: a!, key: b!, value: c!, gradient: d! };
  }

  #compute(): Tensor[] {
    const { query, key, value, gradient } = this.inputs;
    const out = memoryEfficientAttention(query, key, value, this.options);
    if (this.#what.pass === "forward") return [out];
    using _ = out;
    out.backward(gradient);
    // The leaves own their gradients; these are views of them.
    return [query, key, value].map((leaf) => leaf.grad!.detach());
  }

  #zeroGradients(): void {
    for (const leaf of this.#leaves()) leaf.zeroGrad();
  }

  #leaves(): Tensor[] {
    const { query, key, value } = this.inputs;
    const bias = this.options.attnBias;
    const isLeaf = this.#what.variant === "bias with gradient" && bias instanceof Tensor;
    return [query, key, value, ...(isLeaf ? [bias] : [])];
  }

  #forgetKept(): void {
    for (const tensor of this.#kept) tensor.dispose();
    this.#kept = [];
    this.#zeroGradients();
  }
}

/** Shapes of query and key; padded sequences lie one behind the other in one. */
function shapesOf({ B, Mq, Mkv, H, Hkv, K, variant }: Case): [query: number[], key: number[]] {
  return variant === "padded"
    ? [[1, B * Mq, H, K], [1, B * Mkv, Hkv, K]]
    : [[B, Mq, H, K], [B, Mkv, Hkv, K]];
}

function optionsOf(device: Device, what: Case): MemoryEfficientAttentionOptions {
  const { B, Mq, Mkv, H, dtype } = what;
  switch (what.variant) {
    case "none":
      return {};
    case "causal":
      return { attnBias: new LowerTriangularMask() };
    case "window":
      return { attnBias: new LowerTriangularFromBottomRightLocalAttentionMask(Mkv / 16) };
    case "packed": // Eight sequences.
      return { attnBias: BlockDiagonalMask.fromSeqlens(new Array(8).fill(Mq / 8)) };
    case "padded": { // A quarter of every slot is empty.
      const lengths = [new Array(B).fill(Mq), new Array(B).fill(Math.ceil(Mkv * 3 / 4))] as const;
      return { attnBias: BlockDiagonalPaddedKeysMask.fromSeqlens(lengths[0], Mkv, lengths[1]) };
    }
    case "alibi":
      return { alibiSlopes: alibiSlopes(H) };
    case "dropout":
      return { p: 0.3, seed: 1 };
    case "half products":
      return { op: FlashHalfForwardOp };
    case "bias":
    case "bias with gradient":
      return { attnBias: device.randn([1, H, Mq, Mkv], { seed: 5, dtype }) };
  }
}
