/** A training as a file: weights, optimiser, options and progress in one safetensors file. */
import {
  loadSafetensors,
  loadTrainingState,
  readSafetensorsMetadata,
  saveSafetensors,
  tidy,
  trainingState,
} from "@denoformers/attention";
import { dirname } from "node:path";
import { trainingCount } from "./data.ts";
import type { Progress, Training } from "./loop.ts";
import { SIZES } from "./model.ts";
import { areRunOptions, type RunOptions } from "./options.ts";

/** What is read of a file before there is a device. */
export interface Checkpoint {
  /** Where it lies. */
  readonly path: string;
  /** The whole file. */
  readonly file: Uint8Array<ArrayBuffer>;
  /** What the run depends on. */
  readonly options: RunOptions;
  /** How far it is. */
  readonly progress: Progress;
}

/** A file that cannot be gone on from, or must not be written over. */
export class CheckpointError extends Error {
  override name = "CheckpointError";
}

/** The name of our entry in the file's metadata. */
const ENTRY = "digits";
/** What it says first: other programs, and later versions of this one, write other things. */
const FORMAT = 1;
/** Ours take a third of a megabyte. A larger file is another's, and not read at all. */
const MAX_BYTES = 2 ** 24;

/**
 * Writes a training to a file. A reader, and whoever ends the program meanwhile, finds the file as it was
 * before or as it is then.
 *
 * @param training Must not take a step meanwhile.
 * @param path Of the file; its folder is made if need be.
 * @throws {CheckpointError} If the file cannot be written.
 */
export async function writeCheckpoint(training: Training, path: string): Promise<void> {
  const { tensors, metadata } = trainingState(training.model, training.optimizer);
  const { options, progress } = training;
  const entry = JSON.stringify({ format: FORMAT, sizes: SIZES, options, progress });
  const file = await saveSafetensors(tensors, { metadata: { ...metadata, [ENTRY]: entry } });
  const temporary = `${path}.tmp`;
  try {
    await Deno.mkdir(dirname(path), { recursive: true });
    await Deno.writeFile(temporary, file);
    {
      using written = await Deno.open(temporary, { write: true });
      await written.sync();
    }
    await Deno.rename(temporary, path);
  } catch (error) {
    await Deno.remove(temporary).catch(() => {}); // Whatever is wrong with it, the first error says why.
    throw new CheckpointError(`Cannot write the checkpoint ${path}: ${(error as Error).message}`);
  }
}

/**
 * Reads a file.
 *
 * @param path Of a file that {@linkcode writeCheckpoint} wrote.
 * @throws {CheckpointError} If there is none, if it is another file or part of one, or of another model.
 */
export async function readCheckpoint(path: string): Promise<Checkpoint> {
  const file = await readWhole(path);
  let text: string | undefined;
  try {
    text = readSafetensorsMetadata(file)[ENTRY];
  } catch (error) {
    refuse(
      path,
      `expected a file of this program, and it is damaged or none: ${(error as Error).message}`,
    );
  }
  if (text === undefined) refuse(path, "expected a file of this program, and it is another's");
  const { sizes, options, progress } = parseEntry(path, text);
  if (textOf(sizes) !== textOf(SIZES)) {
    refuse(path, `it holds a model of sizes ${textOf(sizes)}, expected ${textOf(SIZES)}`);
  }
  return { path, file, options, progress };
}

/**
 * Loads a file into a training that was begun with its options.
 *
 * @throws {CheckpointError} If the file's tensors are not those of such a training; nothing is loaded then.
 */
export function restore(training: Training, { path, file, progress }: Checkpoint): void {
  try {
    tidy(() => {
      const tensors = loadSafetensors(training.device, file);
      const metadata = readSafetensorsMetadata(file);
      loadTrainingState({ tensors, metadata }, training.model, training.optimizer);
    });
  } catch (error) {
    if (!(error instanceof RangeError || error instanceof TypeError)) throw error;
    refuse(path, error.message);
  }
  training.progress = progress;
}

/**
 * Throws, before hours of training, if a file cannot be written because its folder cannot be made, or if writing to
 * it would lose something: an unfinished training, or what is not ours. Makes the folder.
 *
 * @throws {CheckpointError} Naming what is there.
 */
export async function assertReplaceable(path: string): Promise<void> {
  try {
    await Deno.mkdir(dirname(path), { recursive: true });
    await Deno.stat(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return;
    throw new CheckpointError(`Cannot write to ${path}: ${(error as Error).message}`);
  }
  let existing: Checkpoint;
  try {
    existing = await readCheckpoint(path);
  } catch (error) {
    if (!(error instanceof CheckpointError)) throw error;
    throw new CheckpointError(
      `Cannot write to ${path}: what is there is no checkpoint that can be read, choose another ` +
        "--checkpoint or remove it",
      { cause: error },
    );
  }
  const { options: { epochs: total }, progress: { epochs } } = existing;
  if (epochs.length < total) {
    throw new CheckpointError(
      `Cannot write to ${path}: it holds a training that is not over, in epoch ` +
        `${
          epochs.length + 1
        } of ${total}; go on with --resume ${path}, choose another --checkpoint ` +
        "or remove it",
    );
  }
}

/** The bytes of a file that is as small as ours are: no device, no pipe, nothing that never ends. */
async function readWhole(path: string): Promise<Uint8Array<ArrayBuffer>> {
  const cannot = (why: string) => new CheckpointError(`Cannot read the checkpoint ${path}: ${why}`);
  let found: Deno.FileInfo;
  try {
    found = await Deno.stat(path);
    if (found.isFile && found.size <= MAX_BYTES) return await Deno.readFile(path);
  } catch (error) {
    throw cannot((error as Error).message);
  }
  if (!found.isFile) throw cannot("it is no file");
  throw cannot(`it has ${found.size} bytes, expected at most ${MAX_BYTES}`);
}

interface Entry {
  readonly format: unknown;
  readonly sizes: unknown;
  readonly options: RunOptions;
  readonly progress: Progress;
}

function parseEntry(path: string, text: string): Entry {
  let entry: Partial<Entry> | null;
  try {
    entry = JSON.parse(text);
  } catch {
    refuse(path, `its entry "${ENTRY}" is no JSON`);
  }
  if (entry?.format !== FORMAT) {
    refuse(path, `it has format ${textOf(entry?.format)}, expected ${FORMAT}`);
  }
  const { options, progress } = entry;
  if (!areRunOptions(options) || !isProgress(progress, options)) {
    refuse(
      path,
      `its entry "${ENTRY}" is not complete, or no training of this program can be there`,
    );
  }
  return entry as Entry;
}

/** Whether a training with these options can be so far: further steps would have no digits. */
function isProgress(value: unknown, { epochs: total, batch, limit }: RunOptions): boolean {
  const { epochs, step, lossSum, correct, seconds } = (value ?? {}) as Partial<Progress>;
  const steps = Math.floor(trainingCount(limit) / batch);
  return Array.isArray(epochs) && epochs.length <= total && epochs.every(isEpochResult) &&
    Number.isSafeInteger(step) && step! >= 0 && step! <= steps &&
    [lossSum, correct, seconds].every(Number.isFinite);
}

/** A value of JSON in a message, however large it is. */
function textOf(value: unknown): string {
  return `${JSON.stringify(value)}`.slice(0, 200);
}

function isEpochResult(value: unknown): boolean {
  if (typeof value !== "object" || value === null) return false;
  const { loss, accuracy, heldOutAccuracy, seconds } = value as Record<string, unknown>;
  return [loss, accuracy, heldOutAccuracy, seconds].every(Number.isFinite);
}

function refuse(path: string, why: string): never {
  throw new CheckpointError(`Cannot resume from ${path}: ${why}`);
}
