/** The smallest model that trains: a transformer block with its optimiser. */
import { AdamW, Block, clipGradNorm, type Device, type Tensor, tidy } from "@denoformers/attention";

const DIM = 8;

/** A block, and what training it holds. */
export class TinyModel implements Disposable {
  readonly #device: Device;
  readonly #block: Block;
  readonly #optimizer: AdamW;

  /** Draws the weights. */
  constructor(device: Device) {
    this.#device = device;
    this.#block = new Block(device, DIM, {
      numHeads: 2,
      mlpRatio: 2,
      attnDrop: 0.2,
      projDrop: 0.1,
      seed: 1,
    });
    this.#optimizer = new AdamW(this.#block.parameters(), { learningRate: 0.01 });
  }

  /** All tensors that it holds, but for the gradients. */
  tensors(): Tensor[] {
    return [...this.#block.parameters(), ...Object.values(this.#optimizer.stateDict().tensors)];
  }

  /**
   * One step of training on random numbers.
   *
   * @param seed Of the numbers.
   * @param keepsGradients Whether the gradients are left for the next step to add to.
   * @returns The loss.
   */
  train(seed: number, keepsGradients: boolean): Tensor {
    if (!keepsGradients) this.#optimizer.zeroGrad();
    const loss = tidy(() => {
      const x = this.#device.randn([2, 6, DIM], { seed });
      const loss = this.#block.train().forward(x).sub(x).square().mean();
      loss.backward();
      clipGradNorm(this.#block.parameters(), 1);
      return loss.detach();
    });
    this.#optimizer.step();
    return loss;
  }

  /** The block's result for random numbers, not recorded. */
  evaluate(seed: number): Tensor {
    return tidy(() =>
      this.#block.eval().forward(this.#device.randn([1, 5, DIM], { seed })).detach()
    );
  }

  /** Disposes weights, gradients and the optimiser's state. */
  [Symbol.dispose](): void {
    const tensors = this.tensors();
    this.#optimizer.dispose();
    for (const tensor of tensors) tensor.dispose();
  }
}
