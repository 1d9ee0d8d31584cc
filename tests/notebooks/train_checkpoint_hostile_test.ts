/** Checkpoints that are made to do harm, or are no files at all. No GPU: nothing of them reaches a device. */
import { assert, assertEquals, assertRejects } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import fc from "fast-check";
import { CheckpointError, readCheckpoint } from "../../notebooks/train/checkpoint.ts";
import { SIZES } from "../../notebooks/train/model.ts";
import { makeFile } from "../attention/layers/_safetensors_files.ts";
import { inFolder } from "../_folder.ts";

const seed = Number(Deno.env.get("DENOFORMERS_FUZZ_SEED") ?? 1);

const OPTIONS = { epochs: 3, batch: 16, seed: 7, attention: "math", limit: 100 };
const EPOCH = { loss: 1, accuracy: 0.5, heldOutAccuracy: 0.5, seconds: 1 };
/** Of 80 digits, 5 batches make an epoch. */
const PROGRESS = { epochs: [EPOCH], step: 5, lossSum: 2, correct: 3, seconds: 1 };
const ENTRY = { format: 1, sizes: SIZES, options: OPTIONS, progress: PROGRESS };

/** Runs a function with the path of a file in a folder of its own. */
async function withPath(fn: (path: string) => Promise<void>): Promise<void> {
  await inFolder((folder) => fn(`${folder}/digits.safetensors`));
}

/** A file whose entry is this text, or this value. */
function fileOf(entry: unknown): Uint8Array<ArrayBuffer> {
  const digits = typeof entry === "string" ? entry : JSON.stringify(entry);
  return makeFile({ __metadata__: { digits } });
}

describe("readCheckpoint() of a file made to do harm", () => {
  it("takes what a training can have written", () =>
    withPath(async (path) => {
      for (const progress of [PROGRESS, { ...PROGRESS, epochs: [], step: 0 }]) {
        await Deno.writeFile(path, fileOf({ ...ENTRY, progress }));
        assertEquals((await readCheckpoint(path)).progress, progress);
      }
    }));

  const wrong: [what: string, entry: unknown][] = [
    ["a batch of nothing, which would never end", { options: { ...OPTIONS, batch: 0 } }],
    ["a batch of more than there is", { options: { ...OPTIONS, batch: 81 } }],
    ["no epoch", { options: { ...OPTIONS, epochs: 0 } }],
    ["more digits than there are", { options: { ...OPTIONS, limit: 10_001 } }],
    ["too few digits", { options: { ...OPTIONS, limit: 99 } }],
    ["a seed of more than 32 bits", { options: { ...OPTIONS, seed: 2 ** 32 } }],
    ["another attention", { options: { ...OPTIONS, attention: "__proto__" } }],
    ["options that are a list", { options: [] }],
    ["no options", { options: null }],
    ["a step behind the epoch's last", { progress: { ...PROGRESS, step: 6 } }],
    ["a step before the first", { progress: { ...PROGRESS, step: -1 } }],
    ["half a step", { progress: { ...PROGRESS, step: 0.5 } }],
    ["more epochs than there are to be", {
      progress: { ...PROGRESS, epochs: Array(4).fill(EPOCH) },
    }],
    ["epochs that are none", { progress: { ...PROGRESS, epochs: [null] } }],
    ["epochs of text", { progress: { ...PROGRESS, epochs: [{ ...EPOCH, loss: "\u001b[2J" }] } }],
    ["a sum that is no number", { progress: { ...PROGRESS, lossSum: "1" } }],
    ["no progress", { progress: null }],
  ];
  for (const [what, change] of wrong) {
    it(`refuses ${what}`, () =>
      withPath(async (path) => {
        await Deno.writeFile(path, fileOf({ ...ENTRY, ...change as object }));
        await assertRejects(
          () => readCheckpoint(path),
          CheckpointError,
          `Cannot resume from ${path}: its entry "digits" is not complete`,
        );
      }));
  }

  it("refuses in a line what is large, or nested deeply", () =>
    withPath(async (path) => {
      const deep = "[".repeat(200_000) + "]".repeat(200_000);
      const whole = JSON.stringify({ ...ENTRY, sizes: 0 });
      for (const entry of [`{"format":${deep}}`, whole.replace('"sizes":0', `"sizes":${deep}`)]) {
        await Deno.writeFile(path, fileOf(entry));
        const { message } = await assertRejects(() => readCheckpoint(path), CheckpointError);
        assert(message.includes("[[[[") && message.length < 700, `${message.length}`);
      }
    }));

  it("refuses any other entry by an error of ours", () =>
    withPath(async (path) => {
      const names = fc.constantFrom("format", "sizes", "options", "progress", "__proto__");
      const entry = fc.oneof(
        fc.json(),
        fc.tuple(names, fc.jsonValue()).map(([name, value]) =>
          `{"${name}":${JSON.stringify(value)}}`
        ),
        fc.nat(400).map((cut) => JSON.stringify(ENTRY).slice(0, cut)).filter((text) =>
          !isWhole(text)
        ),
        fc.constant("[".repeat(100_000)),
      );
      await fc.assert(
        fc.asyncProperty(entry, async (text) => {
          await Deno.writeFile(path, fileOf(text));
          const error = await assertRejects(() => readCheckpoint(path), CheckpointError);
          assert((error as Error).message.startsWith(`Cannot resume from ${path}: `));
        }),
        { seed, numRuns: 200 },
      );
    }));

  it("reads no folder, no device that never ends, and no file larger than ours are", () =>
    withPath(async (path) => {
      await Deno.mkdir(path);
      await assertRejects(() => readCheckpoint(path), CheckpointError, "it is no file");
      const large = `${path}.large`;
      await Deno.writeFile(large, new Uint8Array(0));
      await Deno.truncate(large, 2 ** 40); // A terabyte of nothing, on no disk.
      await assertRejects(
        () => readCheckpoint(large),
        CheckpointError,
        `Cannot read the checkpoint ${large}: it has 1099511627776 bytes, expected at most`,
      );
      if (Deno.build.os === "windows") return;
      await assertRejects(() => readCheckpoint("/dev/zero"), CheckpointError, "it is no file");
    }));
});

function isWhole(text: string): boolean {
  return text === JSON.stringify(ENTRY);
}
