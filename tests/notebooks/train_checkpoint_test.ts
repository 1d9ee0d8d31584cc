import { assertEquals, assertRejects, assertStringIncludes, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { loadSafetensors, readSafetensorsMetadata, saveSafetensors } from "@denoformers/attention";
import {
  assertReplaceable,
  CheckpointError,
  readCheckpoint,
  restore,
  writeCheckpoint,
} from "../../notebooks/train/checkpoint.ts";
import { Training } from "../../notebooks/train/loop.ts";
import type { RunOptions } from "../../notebooks/train/options.ts";
import { sharedDevice } from "../_device.ts";
import { inFolder } from "../_folder.ts";

/** As in train_test.ts: ten steps. */
const OPTIONS: RunOptions = {
  epochs: 2,
  batch: 16,
  seed: 7,
  attention: "memory-efficient",
  limit: 100,
};

/** The file of a training that was not begun. */
async function newCheckpoint(path: string): Promise<Uint8Array<ArrayBuffer>> {
  using training = new Training(await sharedDevice(), OPTIONS);
  await writeCheckpoint(training, path);
  return await Deno.readFile(path);
}

/** The same file with other metadata. */
async function withMetadata(
  file: Uint8Array,
  change: (entry: Record<string, unknown>) => unknown,
): Promise<Uint8Array<ArrayBuffer>> {
  const tensors = loadSafetensors(await sharedDevice(), file);
  const { digits, ...metadata } = readSafetensorsMetadata(file);
  const entry = JSON.stringify(change(JSON.parse(digits!)));
  const changed = await saveSafetensors(tensors, { metadata: { ...metadata, digits: entry } });
  for (const tensor of Object.values(tensors)) tensor.dispose();
  return changed;
}

describe("readCheckpoint()", () => {
  it("refuses what is no checkpoint, or part of one, by its path and the reason", () =>
    inFolder(async (folder) => {
      const path = `${folder}/digits.safetensors`;
      const whole = await newCheckpoint(path);
      const foreign = await saveSafetensors({}, { metadata: { format: "pt" } });
      const files: [Uint8Array<ArrayBuffer>, string][] = [
        [whole.slice(0, whole.length - 1), "damaged or none"],
        [whole.slice(0, 100), "damaged or none"],
        [new TextEncoder().encode("not a checkpoint"), "damaged or none"],
        [new Uint8Array(0), "damaged or none"],
        [foreign, "it is another's"],
        [await withMetadata(whole, () => "text"), "it has format undefined, expected 1"],
        [
          await withMetadata(whole, ({ progress: _, ...entry }) => entry),
          'its entry "digits" is not complete',
        ],
        [await withMetadata(whole, (entry) => ({ ...entry, format: 2 })), "it has format 2"],
        [
          await withMetadata(whole, (entry) => ({ ...entry, sizes: { dim: 64 } })),
          'it holds a model of sizes {"dim":64}, expected {"patch":7,"dim":32',
        ],
      ];
      for (const [file, message] of files) {
        await Deno.writeFile(path, file);
        const error = await assertRejects(() => readCheckpoint(path), CheckpointError, message);
        assertStringIncludes(error.message, `Cannot resume from ${path}: `);
        await assertRejects(() => assertReplaceable(path), CheckpointError, "Cannot write to");
        assertEquals(await Deno.readFile(path), file);
      }
      await assertRejects(
        () => readCheckpoint(`${folder}/absent`),
        CheckpointError,
        `Cannot read the checkpoint ${folder}/absent`,
      );
    }));

  it("restore() refuses other tensors, and loads nothing then", () =>
    inFolder(async (folder) => {
      const path = `${folder}/digits.safetensors`;
      const whole = await newCheckpoint(path);
      const device = await sharedDevice();
      const { digits } = readSafetensorsMetadata(whole);
      const tensors = { "model.head.bias": device.zeros([10]) };
      await Deno.writeFile(
        path,
        await saveSafetensors(tensors, { metadata: { digits: digits! } }),
      );
      using training = new Training(device, OPTIONS);
      const before = await training.model.head.bias!.toArray();
      const checkpoint = await readCheckpoint(path);
      assertThrows(() => restore(training, checkpoint), CheckpointError, "missing position");
      assertEquals(await training.model.head.bias!.toArray(), before);
    }));
});

describe("assertReplaceable()", () => {
  it("lets a training that is over be written over, but not one that is not", () =>
    inFolder(async (folder) => {
      const path = `${folder}/digits.safetensors`;
      await assertReplaceable(path);
      const whole = await newCheckpoint(path);
      await assertRejects(
        () => assertReplaceable(path),
        CheckpointError,
        `it holds a training that is not over, in epoch 1 of 2; go on with --resume ${path}`,
      );
      const epoch = { loss: 1, accuracy: 0.5, heldOutAccuracy: 0.5, seconds: 1 };
      const progress = { epochs: [epoch, epoch], step: 0, lossSum: 0, correct: 0, seconds: 0 };
      await Deno.writeFile(path, await withMetadata(whole, (entry) => ({ ...entry, progress })));
      await assertReplaceable(path);
    }));
});

describe("writeCheckpoint()", () => {
  it("leaves the file before as it was if it cannot write, and nothing else", () =>
    inFolder(async (folder) => {
      const path = `${folder}/digits.safetensors`;
      const before = await newCheckpoint(path);
      using training = new Training(await sharedDevice(), { ...OPTIONS, seed: 8 });
      await Deno.mkdir(`${path}.tmp`);
      await assertRejects(
        () => writeCheckpoint(training, path),
        CheckpointError,
        `Cannot write the checkpoint ${path}: `,
      );
      assertEquals(await Deno.readFile(path), before);
      assertEquals([...Deno.readDirSync(folder)].length, 1);
    }));
});
