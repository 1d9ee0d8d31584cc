/** Masks over whole sequences, each of which is one block. */
import { assertArguments, limitArguments } from "../../gpu/checks.ts";
import type { Tensor } from "../../gpu/tensor/tensor.ts";
import { AttentionBias, MaskWithTensorBias } from "./bias.ts";
import { causalWindow, checkedReach, localWindow } from "./checks.ts";
import { CAUSAL, CAUSAL_FROM_BOTTOM_RIGHT, EVERYTHING, type Window } from "./window.ts";

/** No mask: every query sees every key. What `attnBias` undefined stands for inside. */
class NoMask extends AttentionBias {
  override readonly window = EVERYTHING;
}

/** The one value of {@linkcode NoMask}. */
export const NO_MASK: AttentionBias = new NoMask();

/**
 * Causal attention: query `i` sees keys `j <= i`, counted from the top left corner also where Mq and
 * Mkv differ.
 *
 * @example A token sees itself and those before it
 * ```ts
 * import { LowerTriangularMask } from "@denoformers/attention";
 *
 * console.log(new LowerTriangularMask().materialize([2, 3])); // 0, -inf, -inf, 0, 0, -inf
 * ```
 */
export class LowerTriangularMask extends AttentionBias {
  static {
    limitArguments(this);
  }

  /** Keys up to the query's own number. */
  override readonly window: Window = CAUSAL;

  /** Takes nothing. */
  constructor() {
    assertArguments("make a LowerTriangularMask", arguments, 0, "use addBias(tensor) for a bias");
    super();
  }

  /** Causal attention with a tensor bias. */
  override addBias(tensor: Tensor): LowerTriangularMaskWithTensorBias {
    return new LowerTriangularMaskWithTensorBias(tensor);
  }
}

/** Causal attention from the top left, with a tensor added to the scores that it leaves. */
export class LowerTriangularMaskWithTensorBias extends MaskWithTensorBias {
  /** The tensor broadcasts to `[B, H, Mq, Mkv]`. */
  constructor(bias: Tensor) {
    assertArguments(`make a ${new.target.name}`, arguments, 1);
    super(new LowerTriangularMask(), bias);
  }
}

/**
 * Causal attention counted from the end: query `i` sees keys `j <= i + Mkv - Mq`, so that the last query
 * sees all keys. Where Mkv < Mq, the first Mq - Mkv queries see none.
 */
export class LowerTriangularFromBottomRightMask extends AttentionBias {
  static {
    limitArguments(this);
  }

  /** Keys up to the one that is as far from the end as the query. */
  override readonly window: Window = CAUSAL_FROM_BOTTOM_RIGHT;

  /** Takes nothing. */
  constructor() {
    assertArguments(`make a ${new.target.name}`, arguments, 0, "use addBias(tensor) for a bias");
    super();
  }

  /**
   * The same, cut to a window; of a mask that has one already, to the smaller.
   *
   * @param windowSize Keys that a query sees at most, its own among them; > 0, or Infinity.
   */
  makeLocalAttention(windowSize: number): LowerTriangularFromBottomRightLocalAttentionMask {
    const { name } = LowerTriangularFromBottomRightLocalAttentionMask;
    const size = checkedReach(name, "windowSize", windowSize, 1);
    return new LowerTriangularFromBottomRightLocalAttentionMask(
      Math.min(size, this.window.left + 1),
    );
  }
}

/**
 * Causal attention within a window, counted from the end: with `d = Mkv - Mq`, query `i` sees keys
 * `i + d - windowSize < j <= i + d`.
 */
export class LowerTriangularFromBottomRightLocalAttentionMask
  extends LowerTriangularFromBottomRightMask {
  /** The last `windowSize` keys up to the query's own. */
  override readonly window: Window;

  /**
   * Makes the mask.
   *
   * @param windowSize Keys that a query sees at most, its own among them; > 0, or Infinity.
   * @throws {RangeError} If it is no such number.
   */
  constructor(windowSize: number) {
    assertArguments(`make a ${new.target.name}`, arguments, 1);
    super();
    this.window = causalWindow(this.constructor.name, "bottom-right", windowSize);
  }
}

/**
 * Attention within a window to both sides, counted from the end: with `d = Mkv - Mq`, query `i` sees
 * keys `i + d - windowLeft <= j <= i + d + windowRight`, at most `windowLeft + 1 + windowRight`.
 *
 * @example Two before, none behind
 * ```ts
 * import { LocalAttentionFromBottomRightMask } from "@denoformers/attention";
 *
 * const mask = new LocalAttentionFromBottomRightMask(2, 0);
 * console.log(mask.materialize([1, 4])); // -inf, 0, 0, 0: the one query stands over the last key
 * ```
 */
export class LocalAttentionFromBottomRightMask extends AttentionBias {
  /** From `windowLeft` keys before the query's own to `windowRight` behind it. */
  override readonly window: Window;

  /**
   * Makes the mask.
   *
   * @param windowLeft Keys seen before the query's own; >= 0, or Infinity for all.
   * @param windowRight Keys seen behind the query's own; >= 0, or Infinity for all.
   * @throws {RangeError} If one is no such number.
   */
  constructor(windowLeft: number, windowRight: number) {
    assertArguments(`make a ${new.target.name}`, arguments, 2);
    super();
    this.window = localWindow(this.constructor.name, windowLeft, windowRight);
  }
}
