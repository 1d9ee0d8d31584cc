import { assert, assertEquals, assertLessOrEqual, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import {
  planEpoch,
  SIDE,
  splitDigits,
  testBatch,
  trainingBatch,
  trainingCount,
} from "../../notebooks/train/data.ts";
import { UsageError } from "../../notebooks/command_line.ts";
import { DEFAULTS, parseOptions, runOptions, USAGE } from "../../notebooks/train/options.ts";
import { formatEnd, formatEpoch, formatInterruption } from "../../notebooks/train/report.ts";

describe("parseOptions() of the training run", () => {
  it("gives nothing but a place for checkpoints by default", () => {
    assertEquals(parseOptions([]), {
      given: {},
      checkpoint: ".cache/digits.safetensors",
      resume: undefined,
      help: false,
    });
    assertEquals(runOptions({}), DEFAULTS);
  });

  it("takes every flag that the usage names", () => {
    const flags = [...USAGE.matchAll(/^ {2}--(\w+)/gm)].map(([, name]) => name);
    assertEquals(
      flags,
      ["epochs", "batch", "seed", "attention", "limit", "checkpoint", "resume", "help"],
    );
    const { given, ...rest } = parseOptions([
      ...["--epochs", "2", "--batch=32", "--seed", "0", "--attention", "math", "--limit=500"],
      ...["--checkpoint", "a.safetensors", "--resume=b.safetensors", "-h"],
    ]);
    assertEquals(given, { epochs: 2, batch: 32, seed: 0, attention: "math", limit: 500 });
    assertEquals(rest, { checkpoint: "a.safetensors", resume: "b.safetensors", help: true });
  });

  it("writes to the file that it resumes unless told otherwise", () => {
    assertEquals(parseOptions(["--resume", "b.safetensors"]).checkpoint, "b.safetensors");
  });

  it("throws on what cannot be, with flag, value and what is expected", () => {
    for (
      const [args, message] of [
        [["--epochs", "0"], '--epochs is "0", expected a whole number >= 1'],
        [["--batch", "1.5"], '--batch is "1.5", expected a whole number >= 1'],
        [["--seed", "4294967296"], '--seed is "4294967296", expected a whole number from 0 to'],
        [["--limit", "99"], '--limit is "99", expected a whole number from 100 to 10000'],
        [["--limit", "10001"], '--limit is "10001", expected a whole number from 100 to 10000'],
        [["--attention", "flash"], '--attention is "flash", expected memory-efficient or math'],
        [["--resume="], '--resume is "", expected the path of a file'],
        [["--checkpoint="], '--checkpoint is "", expected the path of a file'],
        [["--bogus"], "--bogus"],
        [["more"], "more"],
      ] as const
    ) {
      const error = assertThrows(() => parseOptions(args), UsageError, message);
      assert(!error.message.includes("\n"), error.message);
    }
  });
});

describe("runOptions()", () => {
  it("throws on a batch that is larger than all that there is to learn from", () => {
    assertEquals(runOptions({ limit: 104, batch: 84 }).batch, 84);
    assertThrows(
      () => runOptions({ limit: 104, batch: 85 }),
      UsageError,
      "--batch is 85, expected at most the 84 digits to learn from, of --limit 104",
    );
  });

  it("takes a checkpoint's options, and throws on others", () => {
    const resumed = { options: { ...DEFAULTS, batch: 32 }, path: "a.safetensors" };
    assertEquals(runOptions({ batch: 32 }, resumed), resumed.options);
    assertThrows(
      () => runOptions({ batch: 64 }, resumed),
      UsageError,
      "--batch is 64, and a.safetensors was written with 32: leave --batch out, or train anew",
    );
  });
});

const PIXELS = SIDE ** 2;

function imagesOf({ pixels }: { pixels: Float32Array }): string[] {
  return Array.from(
    { length: pixels.length / PIXELS },
    (_, i) => pixels.subarray(i * PIXELS, (i + 1) * PIXELS).join(),
  );
}

function classCounts(labels: Uint8Array): number[] {
  return Array.from({ length: 10 }, (_, label) => labels.filter((l) => l === label).length);
}

describe("splitDigits()", () => {
  it("splits all digits into 8,000 and 2,000 that have none in common", () => {
    const { training, heldOut } = splitDigits(1);
    const [known, others] = [new Set(imagesOf(training)), new Set(imagesOf(heldOut))];
    // No image is there twice, so that images tell digits apart.
    assertEquals([known.size, others.size], [8000, 2000]);
    assertEquals(known.intersection(others).size, 0);
    assertEquals([training.labels.length, heldOut.labels.length], [8000, 2000]);
  });

  it("holds a fifth of each class out, whatever the limit", () => {
    for (const limit of [100, 333, 10_000]) {
      const { training, heldOut } = splitDigits(3, limit);
      assertEquals(training.labels.length, trainingCount(limit));
      assertEquals(heldOut.labels.length, limit - trainingCount(limit));
      const learnt = classCounts(training.labels);
      for (const [label, out] of classCounts(heldOut.labels).entries()) {
        // Each share is rounded at both of its ends.
        assertLessOrEqual(Math.abs(out - (learnt[label]! + out) / 5), 1, `class ${label}`);
        assert(out > 0 && learnt[label]! > 0, `class ${label} of ${limit}`);
      }
    }
  });

  it("gives the same for one seed, and other digits for another", () => {
    assertEquals(splitDigits(5, 200), splitDigits(5, 200));
    const [first, second] = [splitDigits(5, 200), splitDigits(6, 200)].map((split) =>
      new Set(imagesOf(split.heldOut))
    );
    assertLessOrEqual(first!.intersection(second!).size, 10);
  });
});

describe("planEpoch()", () => {
  it("takes every digit once, in an order that seed and epoch give", () => {
    const plan = planEpoch(1, 0, 500);
    assertEquals([...plan.order].sort((a, b) => a - b), Array.from({ length: 500 }, (_, i) => i));
    assertEquals(planEpoch(1, 0, 500), plan);
    for (const [seed, epoch] of [[1, 1], [2, 0]] as const) {
      const other = planEpoch(seed, epoch, 500).order;
      // By chance one place in 500 has the same digit.
      assertLessOrEqual(plan.order.filter((digit, place) => digit === other[place]).length, 10);
    }
  });

  it("moves digits by at most one pixel, each way as often", () => {
    const { shifts } = planEpoch(1, 0, 3000);
    const counts = [-1, 0, 1].map((shift) => shifts.filter((s) => s === shift).length);
    assertEquals(counts.reduce((sum, count) => sum + count), 6000);
    // Six standard deviations of a binomial of 6,000 draws: 6 sqrt(6000 / 3 * 2 / 3) = 219.
    for (const count of counts) assertLessOrEqual(Math.abs(count - 2000), 219);
  });
});

describe("trainingBatch()", () => {
  const pixels = new Float32Array(2 * PIXELS);
  pixels[PIXELS + 10 * SIDE + 20] = 1;
  const digits = { pixels, labels: Uint8Array.of(3, 7) };
  const [dark, bright] = [-0.1307 / 0.3081, (1 - 0.1307) / 0.3081].map(Math.fround);

  it("gives the digits of the order's places, moved and normalised", () => {
    const plan = { order: Uint32Array.of(0, 1), shifts: Int8Array.of(0, 0, 1, -1) };
    const { images, labels } = trainingBatch(digits, plan, 1, 2);
    assertEquals([...labels], [7]);
    assertEquals(images.length, PIXELS);
    assertEquals(images.indexOf(bright!), 11 * SIDE + 19);
    assertEquals(images.filter((pixel) => pixel === dark).length, PIXELS - 1);
  });

  it("lets pixels leave the image, and none come in again", () => {
    const full = { pixels: new Float32Array(PIXELS).fill(1), labels: Uint8Array.of(0) };
    const plan = { order: Uint32Array.of(0), shifts: Int8Array.of(-1, 1) };
    const { images } = trainingBatch(full, plan, 0, 1);
    assertEquals(images.filter((pixel) => pixel === bright).length, (SIDE - 1) ** 2);
    assertEquals([images[0], images[1]], [dark, bright]);
    assertEquals(images.subarray(27 * SIDE).every((pixel) => pixel === dark), true);
  });

  it("testBatch() leaves them where they are", () => {
    const { images, labels } = testBatch(digits, 0, 2);
    assertEquals([...labels], [3, 7]);
    assertEquals(images.indexOf(bright!), PIXELS + 10 * SIDE + 20);
  });
});

describe("the training's report", () => {
  const epoch = { loss: 0.12345, accuracy: 0.9631, heldOutAccuracy: 0.9705, seconds: 23.84 };

  it("has a row for each epoch", () => {
    assertEquals(
      formatEpoch(6, epoch),
      "      6     0.1235     96.3 %     97.0 %       23.8",
    );
  });

  it("says at the end whether the goal was reached, how long it took and what it needed", () => {
    const memory = { allocatedBytes: 0, peakBytes: 3 * 2 ** 20, reservedBytes: 0 };
    const stats = { ...memory, buffers: 0, tensors: 0 };
    const progress = { step: 0, lossSum: 0, correct: 0, seconds: 0 };
    const lines = (heldOutAccuracy: number) =>
      formatEnd({ ...progress, epochs: [epoch, { ...epoch, heldOutAccuracy }] }, stats, "a.st");
    assertEquals(
      lines(0.95),
      `
Held-out digits classed right: 95.0 %, the goal of 95.0 % is reached
  best epoch   97.0 %
  time         47.7 s
  peak memory  3.0 MiB on the device
  written to   a.st`,
    );
    assert(lines(0.949).includes("94.9 %, the goal of 95.0 % is not reached"), lines(0.949));
  });

  it("says how to go on behind an interrupt", () => {
    const progress = { epochs: [epoch], step: 3, lossSum: 0, correct: 0, seconds: 0 };
    assertEquals(
      formatInterruption(progress, "a.st"),
      "Interrupted in epoch 2, after 3 of its steps; go on with\n\n" +
        "  deno task train --resume a.st",
    );
  });
});
