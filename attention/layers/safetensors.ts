/**
 * Weights to and from safetensors, the files that PyTorch's models are published in. Elements go over bit
 * by bit, or as the same whole numbers in 32 bits.
 */
import {
  assertArguments,
  assertFunction,
  checkedOptions,
  checkedRecord,
  type OptionNames,
  told,
} from "../../gpu/checks.ts";
import { byteSize, type DeviceArray, isDense, produce } from "../../gpu/array.ts";
import { assertDevice, type Device, runtimeOf } from "../../gpu/device.ts";
import { encodingOf } from "../../gpu/dtype.ts";
import { copy } from "../../gpu/ops/map.ts";
import type { Runtime } from "../../gpu/runtime/runtime.ts";
import { numel } from "../../gpu/shape.ts";
import { arrayOf, TensorBase } from "../../gpu/tensor/base.ts";
import { type Tensor, tensorFrom } from "../../gpu/tensor/tensor.ts";
import {
  compareText,
  formatHeader,
  METADATA_KEY,
  parseHeader,
  type TensorEntry,
} from "./safetensors_header.ts";
import { isWellFormed, quote } from "./safetensors_json.ts";
import { assertFits, dtypesOf, TYPES, wholeWords } from "./safetensors_types.ts";

/** Options of {@linkcode loadSafetensors}. */
export interface LoadSafetensorsOptions {
  /** Which tensors to load, by their names, types and shapes. Default: all. */
  filter?: (name: string, entry: SafetensorsEntry) => boolean;
  /** Whether to load F64 as f32, rounded to the nearest. Default `false`: it is refused. */
  roundF64?: boolean;
}

/** A tensor of a file, as {@linkcode listSafetensors} and filters see it. */
export interface SafetensorsEntry {
  /** Its name. */
  readonly name: string;
  /** The format's name of the element type, as in `BF16` or `I64`. */
  readonly dtype: string;
  /** Its sizes. */
  readonly shape: readonly number[];
}

const LOAD_OPTIONS: OptionNames<LoadSafetensorsOptions> = {
  filter: "function",
  roundF64: "boolean",
};

/** Options of {@linkcode saveSafetensors}. */
export interface SaveSafetensorsOptions {
  /** Text to put into the file, by name. Default: none. */
  metadata?: Readonly<Record<string, string>>;
}

const SAVE_OPTIONS: OptionNames<SaveSafetensorsOptions> = { metadata: "" };

/**
 * The tensors of a safetensors file, by name, with the file's types where these are F32, F16, BF16, I32, U32 or BOOL.
 * I64, I16 and I8 become i32, U64, U16 and U8 become u32, if every number fits: none is ever changed. Tensors
 * without elements, which some files carry as marks, are f32 if their type is none of these. The whole file is
 * checked before anything is allocated. Needs the file in memory, and on the device what is loaded of it.
 *
 * @param device Where to put the tensors.
 * @param file All bytes of the file, as `Deno.readFile()` and `Response.bytes()` give them; of a `Blob`,
 * its `arrayBuffer()`. They may be changed as soon as this returns.
 * @param options `filter`: which tensors to load; `roundF64`: whether to take F64.
 * @returns The tensors; without a prototype, as names may be any. The caller disposes them.
 * @throws {TypeError} For a file that is none of safetensors, and for tensors of other types, naming all.
 * @throws {RangeError} For a file whose lengths and offsets do not fit each other, as of one that was cut
 * off, for a number that 32 bits do not hold, and for a tensor that the device cannot hold.
 *
 * @example Load weights into a layer, which copies them
 * ```ts ignore
 * const file = await Deno.readFile("attention.safetensors");
 * tidy(() => attention.loadStateDict(loadSafetensors(device, file)));
 * ```
 *
 * @example Load what belongs to one block of a larger model
 * ```ts ignore
 * const response = await fetch("https://example.org/model.safetensors");
 * const tensors = loadSafetensors(device, await response.arrayBuffer(), {
 *   filter: (name, { dtype }) => name.startsWith("blocks.0.") && dtype !== "F8_E4M3",
 * });
 * ```
 */
export function loadSafetensors(
  device: Device,
  file: ArrayBuffer | Uint8Array,
  options: LoadSafetensorsOptions = {},
): Record<string, Tensor> {
  assertArguments("load safetensors", arguments, 3, "write { filter }");
  const { filter = () => true, roundF64 = false } = checkedOptions(
    "load safetensors",
    options,
    LOAD_OPTIONS,
  );
  assertFunction("load safetensors: filter", filter);
  assertDevice("load safetensors", device);
  const bytes = bytesOf(file);
  const { entries, dataStart } = parseHeader(bytes);
  const dataOf = ({ begin, end }: TensorEntry) =>
    bytes.subarray(dataStart + begin, dataStart + end);
  const wanted = entries.filter((entry) => filter(entry.name, publicEntry(entry)));
  const dtypes = dtypesOf(wanted, roundF64);
  for (const entry of wanted) assertFits(entry, dataOf(entry));
  const runtime = runtimeOf(device);
  const tensors: Record<string, Tensor> = Object.create(null);
  try {
    for (const [i, entry] of wanted.entries()) {
      const words = wholeWords(dataOf(entry), entry.type);
      const array = produce(runtime, entry.shape, dtypes[i]!, ({ storage }) => {
        if (words.length > 0) runtime.upload(storage, words);
      });
      tensors[entry.name] = tensorFrom(device, runtime, array);
    }
  } catch (error) {
    for (const tensor of Object.values(tensors)) tensor.dispose();
    throw error;
  }
  return tensors;
}

/**
 * What a safetensors file holds, in the order of its data; of any type, also those that {@linkcode loadSafetensors}
 * refuses. Needs no device.
 *
 * @param file All bytes of the file.
 * @returns Name, type and shape of each tensor.
 * @throws {TypeError} For a file that is none of safetensors.
 * @throws {RangeError} For a file whose lengths and offsets do not fit each other.
 *
 * @example Which types does a file have?
 * ```ts
 * import { Linear, listSafetensors, requestDevice, saveSafetensors } from "@denoformers/attention";
 *
 * using device = await requestDevice();
 * const file = await saveSafetensors(new Linear(device, 3, 2).stateDict());
 * console.table(listSafetensors(file)); // bias, F32, [2] and weight, F32, [2, 3]
 * ```
 */
export function listSafetensors(file: ArrayBuffer | Uint8Array): SafetensorsEntry[] {
  return parseHeader(bytesOf(file)).entries.map(publicEntry);
}

/** A copy of what callers may see and change. */
function publicEntry({ name, type, shape }: TensorEntry): SafetensorsEntry {
  return { name, dtype: type, shape: [...shape] };
}

/**
 * The texts that a safetensors file carries beside its tensors.
 *
 * @param file All bytes of the file.
 * @returns The texts by name; without a prototype, as names may be any.
 * @throws {TypeError} For a file that is none of safetensors.
 * @throws {RangeError} For a file whose lengths and offsets do not fit each other.
 */
export function readSafetensorsMetadata(file: ArrayBuffer | Uint8Array): Record<string, string> {
  return parseHeader(bytesOf(file)).metadata;
}

/**
 * The bytes of a safetensors file with these tensors, of any type and strides. The same tensors and
 * metadata give the same bytes, those of the format's own library in Python.
 *
 * @param tensors By name, as a layer's `stateDict()`. They may be disposed as soon as this returns, but not
 * changed in place, as by an optimiser, until the bytes are there.
 * @param options `metadata`: text to put into the file.
 * @returns The bytes, once they are read back from the device.
 * @throws {TypeError} For what is no tensor, and for a name or a text that the format cannot hold.
 * @throws {RangeError} If names and metadata take more than the 100 MB that the format allows.
 * @throws {Error} If a tensor was changed in place meanwhile.
 *
 * @example Save a layer's weights and load them into another
 * ```ts
 * import { Linear, loadSafetensors, requestDevice, saveSafetensors, tidy } from "@denoformers/attention";
 *
 * using device = await requestDevice();
 * const trained = new Linear(device, 64, 16, { seed: 1 });
 * const file = await saveSafetensors(trained.stateDict(), { metadata: { format: "pt" } });
 *
 * const other = new Linear(device, 64, 16);
 * tidy(() => other.loadStateDict(loadSafetensors(device, file)));
 * ```
 *
 * @example Write a file
 * ```ts ignore
 * await Deno.writeFile("attention.safetensors", await saveSafetensors(attention.stateDict()));
 * ```
 */
export async function saveSafetensors(
  tensors: Readonly<Record<string, Tensor>>,
  options: SaveSafetensorsOptions = {},
): Promise<Uint8Array<ArrayBuffer>> {
  assertArguments("save safetensors", arguments, 2, "write { metadata }");
  const { metadata = {} } = checkedOptions("save safetensors", options, SAVE_OPTIONS);
  checkedRecord("save safetensors", "tensors", tensors);
  checkedRecord("save safetensors", "metadata", metadata);
  assertMetadata(metadata);
  const parts = inFileOrder(tensors);
  const header = formatHeader(parts.map(({ entry }) => entry), metadata);
  const file = new Uint8Array(header.length + (parts.at(-1)?.entry.end ?? 0));
  file.set(header);
  // The memory must outlive the wait, even if tensors are disposed meanwhile.
  for (const { array } of parts) array.storage.retain();
  try {
    for (const { entry, array, runtime, version } of parts) {
      const elements = await download(runtime, array);
      assertUnchanged(entry, array, version);
      file.set(elements.subarray(0, entry.end - entry.begin), header.length + entry.begin);
    }
  } finally {
    for (const { array } of parts) array.storage.release();
  }
  return file;
}

/** A tensor to save. */
interface Part {
  readonly entry: TensorEntry;
  readonly array: DeviceArray;
  readonly runtime: Runtime;
  /** That of the storage when saving began. */
  readonly version: number;
}

/** Checked tensors with their places in the file: the widest types first, as the data have no gaps. */
function inFileOrder(tensors: Readonly<Record<string, Tensor>>): Part[] {
  const rank = (name: string) => TYPES.findIndex(([, dtype]) => dtype === tensors[name]!.dtype);
  for (const [name, tensor] of Object.entries(tensors)) assertStorable(name, tensor);
  const names = Object.keys(tensors).sort((a, b) => rank(a) - rank(b) || compareText(a, b));
  let begin = 0;
  return names.map((name) => {
    const tensor = tensors[name]!;
    const { dtype, shape } = tensor;
    const end = begin + numel(shape) * encodingOf(dtype).bytes;
    const entry = { name, type: TYPES[rank(name)]![0], shape, begin, end };
    begin = end;
    const array = arrayOf(tensor);
    return { entry, array, runtime: runtimeOf(tensor.device), version: array.storage.version };
  });
}

function assertStorable(name: string, tensor: Tensor): void {
  if (!(tensor instanceof TensorBase)) {
    throw new TypeError(
      `Cannot save safetensors: ${quote(name)} is ${told(tensor)}, expected a Tensor`,
    );
  }
  if (tensor.isDisposed) {
    throw new TypeError(`Cannot save safetensors: tensor ${quote(name)} is disposed`);
  }
  if (name === METADATA_KEY || !isWellFormed(name)) {
    throw new TypeError(
      `Cannot save safetensors: a tensor is named ${quote(name)}, expected well-formed text ` +
        `other than ${METADATA_KEY}; save it by another name`,
    );
  }
}

/** Half of a file from before an optimiser's step and half from behind it would be no model. */
function assertUnchanged({ name }: TensorEntry, { storage }: DeviceArray, version: number): void {
  if (storage.version !== version) {
    throw new Error(
      `Cannot save safetensors: tensor ${quote(name)} was changed in place meanwhile; ` +
        "await saveSafetensors() before the next step",
    );
  }
}

function assertMetadata(metadata: Readonly<Record<string, string>>): void {
  for (const [name, text] of Object.entries(metadata)) {
    if (typeof text !== "string" || !isWellFormed(name) || !isWellFormed(text)) {
      throw new TypeError(
        `Cannot save safetensors: metadata has ${
          typeof text === "string" ? quote(text) : typeof text
        } as ${quote(name)}, expected well-formed text`,
      );
    }
  }
}

/** The elements in row-major order, filled up to whole words. */
async function download(runtime: Runtime, array: DeviceArray): Promise<Uint8Array> {
  const { dtype, layout: { shape } } = array;
  const dense = isDense(array) ? array : copy(runtime, array);
  try {
    return new Uint8Array(await runtime.download(dense.storage, byteSize(shape, dtype)));
  } finally {
    if (dense !== array) dense.storage.release();
  }
}

function bytesOf(file: ArrayBuffer | Uint8Array): Uint8Array {
  if (file instanceof ArrayBuffer) return new Uint8Array(file);
  if (ArrayBuffer.isView(file)) {
    return new Uint8Array(file.buffer, file.byteOffset, file.byteLength);
  }
  throw new TypeError(
    `Cannot read safetensors: file is ${told(file)}, expected an ArrayBuffer or a Uint8Array, ` +
      "as from await Deno.readFile(path) or await blob.arrayBuffer()",
  );
}
