/** The feed-forward part of a transformer block. */
import {
  assertArguments,
  checkedOptions,
  limitArguments,
  type OptionNames,
} from "../../gpu/checks.ts";
import { assertDevice, type Device } from "../../gpu/device.ts";
import { tidy } from "../../gpu/lifetime.ts";
import { SeedSequence } from "../../gpu/random/seeds.ts";
import type { Tensor } from "../../gpu/tensor/tensor.ts";
import { assertProbability, Dropout } from "./dropout.ts";
import { Linear } from "./linear.ts";
import { assertLastAxis, assertSize, Module } from "./module.ts";

/** Options of {@linkcode Mlp}; names and defaults are timm's. */
export interface MlpOptions {
  /** Size between the two layers. Default that of the input. */
  hiddenFeatures?: number;
  /** Size of the last axis of the output. Default that of the input. */
  outFeatures?: number;
  /** Whether the two layers have a bias. Default `true`. */
  bias?: boolean;
  /** Probability of dropping an element behind each layer in training. Default 0. */
  drop?: number;
  /** Seed of the initial weights and of the dropout in training; default a new one every time. */
  seed?: number;
}

const OPTIONS: OptionNames<MlpOptions> = {
  hiddenFeatures: "number",
  outFeatures: "",
  bias: "boolean",
  drop: "",
  seed: "",
};

/**
 * `fc2(gelu(fc1(x)))` with dropout behind each layer, after timm's and DINOv2's class of this name and with
 * its weights: `fc1.weight [hidden, in]`, `fc1.bias`, `fc2.weight [out, hidden]`, `fc2.bias`. gelu is the
 * exact one, by the normal distribution.
 */
export class Mlp extends Module {
  static {
    limitArguments(this);
  }

  /** in to hidden. */
  readonly fc1: Linear;
  /** hidden to out. */
  readonly fc2: Linear;
  /** Dropout behind gelu. */
  readonly drop1: Dropout;
  /** Dropout of the result. */
  readonly drop2: Dropout;

  /** Makes the layer for inputs `[..., inFeatures]`, with random weights. */
  constructor(device: Device, inFeatures: number, options: MlpOptions = {}) {
    assertArguments("make Mlp", arguments, 3, "write { hiddenFeatures, outFeatures }");
    super();
    const { hiddenFeatures = inFeatures, outFeatures = inFeatures, bias = true, drop = 0 } =
      checkedOptions("make Mlp", options, OPTIONS);
    assertDevice("make Mlp", device);
    for (const [name, size] of Object.entries({ inFeatures, hiddenFeatures, outFeatures })) {
      assertSize("Mlp", name, size);
    }
    assertProbability("Mlp", "drop", drop);
    const seeds = new SeedSequence(options.seed);
    this.fc1 = new Linear(device, inFeatures, hiddenFeatures, { bias, seed: seeds.next() });
    this.fc2 = new Linear(device, hiddenFeatures, outFeatures, { bias, seed: seeds.next() });
    this.drop1 = new Dropout(drop, { seed: seeds.next() });
    this.drop2 = new Dropout(drop, { seed: seeds.next() });
  }

  /** `x [..., in]` becomes `[..., out]`. */
  forward(x: Tensor): Tensor {
    assertLastAxis("Mlp", x, this.fc1.weight.shape[1]!);
    return tidy(() => {
      const hidden = this.drop1.forward(this.fc1.forward(x).gelu());
      return this.drop2.forward(this.fc2.forward(hidden));
    });
  }

  /** The layers within. */
  protected override children(): Record<string, Module> {
    return { fc1: this.fc1, drop1: this.drop1, fc2: this.fc2, drop2: this.drop2 };
  }
}
