/** What is done to scores besides the product: a mask, a tensor bias, ALiBi's slopes; and dropout. */
import { isProbability, told } from "../gpu/checks.ts";
import { isFloat } from "../gpu/dtype.ts";
import type { DeviceArray } from "../gpu/array.ts";
import type { Device } from "../gpu/device.ts";
import { expandLayout } from "../gpu/layout.ts";
import { freshSeed, seedKey } from "../gpu/random/philox.ts";
import { formatShape } from "../gpu/shape.ts";
import { arrayOn } from "../gpu/tensor/base.ts";
import { Tensor } from "../gpu/tensor/tensor.ts";
import { splitHeads } from "./grouped_heads.ts";
import type { AttentionOptions, AttentionSizes } from "./inputs.ts";
import { AttentionBias } from "./masks/bias.ts";
import { NO_MASK } from "./masks/dense.ts";

/** The checked terms. */
export interface ScoreTerms {
  /** Which keys each query may see. */
  readonly mask: AttentionBias;
  /** `[B, G, H, Mq, Mkv]`: added (float) or "may attend" (bool), if there is one. */
  readonly bias: DeviceArray | undefined;
  /** The tensor behind the bias. */
  readonly biasTensor: Tensor | undefined;
  /** `[B, G, H]`, f32: ALiBi's slopes on the device; or one for each head, still on the host. */
  readonly alibi: DeviceArray | readonly number[] | undefined;
}

/** Dropout of weights. */
export interface Dropout {
  /** Probability of dropping, above 0. */
  readonly p: number;
  /** The seed as a key of Philox. */
  readonly key: readonly [low: number, high: number];
}

/** Checks `attnBias` against the sizes. */
export function scoreTerms(
  name: string,
  device: Device,
  sizes: AttentionSizes,
  rank: number,
  attnBias: AttentionOptions["attnBias"],
  shapes: string,
): Pick<ScoreTerms, "mask" | "bias" | "biasTensor"> {
  if (attnBias === undefined || attnBias === null) {
    return { mask: NO_MASK, bias: undefined, biasTensor: undefined };
  }
  if (attnBias instanceof Tensor) {
    const bias = checkedBias(name, device, sizes, rank, attnBias);
    return { mask: NO_MASK, bias, biasTensor: attnBias };
  }
  if (!(attnBias instanceof AttentionBias)) {
    throw new TypeError(
      `Cannot run ${name}: attnBias is ${told(attnBias)}, expected a mask such as ` +
        "new LowerTriangularMask(), or a Tensor",
    );
  }
  const problem = attnBias.mismatch(sizes.B, sizes.Mq, sizes.Mkv);
  if (problem) {
    throw new RangeError(
      `Cannot run ${name} with a ${attnBias.constructor.name}: ${problem}; inputs are ${shapes}`,
    );
  }
  const bias = attnBias.tensor && checkedBias(name, device, sizes, rank, attnBias.tensor);
  return { mask: attnBias, bias, biasTensor: attnBias.tensor };
}

/** The mask and the bias in a few words, for messages. */
export function describeTerms({ mask, bias }: Pick<ScoreTerms, "mask" | "bias">): string {
  const tensor = bias && `Tensor of dtype ${bias.dtype}`;
  if (mask === NO_MASK) return tensor ?? "none";
  return `${mask.constructor.name}${tensor ? ` with a ${tensor}` : ""}`;
}

function checkedBias(
  name: string,
  device: Device,
  { B, G, H, Mq, Mkv }: AttentionSizes,
  rank: number,
  bias: Tensor,
): DeviceArray {
  const array = arrayOn(device, bias);
  if (!isFloat(array.dtype) && array.dtype !== "bool") {
    throw new TypeError(
      `Cannot run ${name}: attnBias has dtype ${array.dtype}, expected f32, f16 or bf16 (added) or ` +
        "bool (may attend)",
    );
  }
  const full = { 3: [B, Mq, Mkv], 4: [B, G * H, Mq, Mkv], 5: [B, G, H, Mq, Mkv] }[rank]!;
  const offer = array.layout.shape;
  const fits = offer.length <= full.length &&
    offer.every((size, i) => size === 1 || size === full[i - offer.length + full.length]);
  if (!fits) {
    throw new RangeError(
      `Cannot run ${name}: attnBias has shape ${
        formatShape(offer)
      }, expected one that broadcasts to ` +
        `${formatShape(full)} (${rank === 3 ? "B" : rank === 4 ? "B, H" : "B, G, H"}, Mq, Mkv)`,
    );
  }
  const layout = expandLayout(array.layout, full);
  if (rank === 5) return { ...array, layout };
  const headed = rank === 4 ? layout : expandLayout(
    { ...layout, shape: [B, 1, Mq, Mkv], strides: layout.strides.toSpliced(1, 0, 0) },
    [B, G * H, Mq, Mkv],
  );
  return { ...array, layout: splitHeads(headed, G, H) };
}

/** Checks `alibiSlopes` against the sizes. */
export function checkedAlibi(
  name: string,
  device: Device,
  { B, G, H }: AttentionSizes,
  slopes: Tensor | readonly number[] | undefined,
): ScoreTerms["alibi"] {
  if (slopes === undefined) return undefined;
  const expected = `expected [${G * H}] or [${B}, ${G * H}], a slope for each head`;
  if (Array.isArray(slopes)) {
    if (slopes.length !== G * H || !slopes.every((slope) => Number.isFinite(slope))) {
      throw new RangeError(
        `Cannot run ${name}: alibiSlopes are ${
          formatShape(slopes)
        }, ${expected}, all of them finite`,
      );
    }
    return slopes;
  }
  if (!(slopes instanceof Tensor)) {
    throw new TypeError(
      `Cannot run ${name}: alibiSlopes is ${
        told(slopes)
      }, expected a Tensor or an array of numbers`,
    );
  }
  const array = arrayOn(device, slopes);
  if (array.dtype !== "f32") {
    throw new TypeError(
      `Cannot run ${name}: alibiSlopes have dtype ${array.dtype}, expected f32, convert with .to("f32")`,
    );
  }
  const { shape } = array.layout;
  const fits = shape.at(-1) === G * H &&
    (shape.length === 1 || (shape.length === 2 && shape[0] === B));
  if (!fits) {
    throw new RangeError(
      `Cannot run ${name}: alibiSlopes have shape ${formatShape(shape)}, ${expected}`,
    );
  }
  return { ...array, layout: splitHeads(expandLayout(array.layout, [B, G * H]), G, H) };
}

/** Checks `p` and `seed`; `undefined` where nothing is dropped. */
export function checkedDropout(
  name: string,
  { p = 0, seed }: AttentionOptions,
): Dropout | undefined {
  if (!isProbability(p)) {
    throw new RangeError(`Cannot run ${name}: p is ${told(p)}, expected a probability in [0, 1]`);
  }
  if (seed !== undefined) seedKey(seed);
  return dropLimit(p) < 0 ? undefined : { p, key: seedKey(seed ?? freshSeed()) };
}

/**
 * A weight is dropped if its random word is not above this: p in steps of 2^-32, exact for 0 and 1. Negative
 * where nothing is dropped.
 */
export function dropLimit(p: number): number {
  return Math.round(p * 2 ** 32) - 1;
}

/** The factor on weights that are kept, so that their expectation does not change; 0 if none is. */
export function keepFactor(p: number): number {
  return p < 1 ? 1 / (1 - p) : 0;
}
