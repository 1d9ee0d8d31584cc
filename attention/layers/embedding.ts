/** A table of vectors, one for each index. */
import {
  assertArguments,
  checkedOptions,
  limitArguments,
  type OptionNames,
  told,
} from "../../gpu/checks.ts";
import { assertDevice, type Device } from "../../gpu/device.ts";
import { freshSeed } from "../../gpu/random/philox.ts";
import { tidy } from "../../gpu/lifetime.ts";
import type { TensorSource } from "../../gpu/parse.ts";
import { numel } from "../../gpu/shape.ts";
import type { Tensor } from "../../gpu/tensor/tensor.ts";
import { indicesOn } from "./indices.ts";
import { assertSize, Module, parameter } from "./module.ts";

/** Options of {@linkcode Embedding}. */
export interface EmbeddingOptions {
  /** An index whose vector is 0 at first, and to which no gradients flow. Default none. */
  paddingIdx?: number | undefined;
  /** Seed of the initial vectors; default a new one every time. */
  seed?: number;
}

const OPTIONS: OptionNames<EmbeddingOptions> = { paddingIdx: "number", seed: "" };

/** Vectors by index, after `torch.nn.Embedding`: `weight [count, D]`, at first standard normal. */
export class Embedding extends Module {
  static {
    limitArguments(this);
  }

  /** `[numEmbeddings, embeddingDim]`. */
  weight: Tensor;
  /** The index to which no gradients flow, if there is one. */
  readonly paddingIdx: number | undefined;

  /** Makes the table with random vectors. */
  constructor(
    device: Device,
    numEmbeddings: number,
    embeddingDim: number,
    options: EmbeddingOptions = {},
  ) {
    assertArguments("make Embedding", arguments, 4, "write { paddingIdx: 0 }");
    super();
    const { paddingIdx, seed = freshSeed() } = checkedOptions("make Embedding", options, OPTIONS);
    assertDevice("make Embedding", device);
    assertSize("Embedding", "numEmbeddings", numEmbeddings);
    assertSize("Embedding", "embeddingDim", embeddingDim);
    if (
      paddingIdx !== undefined &&
      !(Number.isInteger(paddingIdx) && paddingIdx >= 0 && paddingIdx < numEmbeddings)
    ) {
      throw new RangeError(
        `Cannot make Embedding: paddingIdx is ${
          told(paddingIdx)
        }, expected a whole number from 0 to ` +
          `${numEmbeddings - 1}`,
      );
    }
    this.paddingIdx = paddingIdx;
    this.weight = parameter(() => {
      const vectors = device.randn([numEmbeddings, embeddingDim], { seed });
      if (paddingIdx === undefined) return vectors;
      const isPadding = device.arange(numEmbeddings).eq(paddingIdx).unsqueeze(1);
      return vectors.maskedFill(isPadding, 0);
    });
  }

  /**
   * The vectors of indices.
   *
   * @param indices i32 of any shape, or numbers, nested or not. Numbers are checked; an index in a tensor
   * that is out of range gives NaN.
   * @returns `[..., D]`.
   */
  forward(indices: Tensor | TensorSource): Tensor {
    const [count, dim] = this.weight.shape as [number, number];
    return tidy(() => {
      const { device } = this.weight;
      const places = indicesOn(device, indices, {
        action: "run Embedding",
        name: "indices",
        isValid: (index) => index >= 0 && index < count,
        expected: `whole numbers from 0 to ${count - 1}`,
      });
      const flat = places.reshape([numel(places.shape)]);
      let rows = this.weight.indexSelect(0, flat);
      if (this.paddingIdx !== undefined) {
        rows = rows.where(flat.ne(this.paddingIdx).unsqueeze(1), rows.detach());
      }
      return rows.reshape([...places.shape, dim]);
    });
  }

  /** The table. */
  protected override weights(): Record<string, Tensor> {
    return { weight: this.weight };
  }

  /** Replaces it. */
  protected override setWeight(_name: string, tensor: Tensor): void {
    this.weight = tensor;
  }
}
