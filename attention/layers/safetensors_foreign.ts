/** Files that are taken for safetensors by mistake, by the bytes that they begin with, and what to do then. */

const CONVERT = "write it anew with safetensors.torch.save_file() in Python";

/** Beginnings, one character a byte, and what begins so. Weights come in these, or these in their place. */
const FORMATS: readonly (readonly [begin: string, what: string])[] = [
  ["PK\x03\x04", `a zip archive, as torch.save() and numpy.savez() make; ${CONVERT}`],
  ["\x80", `a Python pickle, as older versions of torch.save() make; ${CONVERT}`],
  ["\x89HDF\r\n", `HDF5, as Keras makes; ${CONVERT}`],
  ["\x93NUMPY", `one array of NumPy; ${CONVERT}`],
  ["GGUF", "GGUF, as llama.cpp takes; load the safetensors file that it was made from"],
  ["\x1f\x8b", "compressed by gzip; decompress it first"],
  ["version https://git-lfs", "a pointer of Git LFS; fetch the file itself by git lfs pull"],
  ["<!doctype", "a web page; download the file itself, by the link for raw contents"],
  ["<html", "a web page; download the file itself, by the link for raw contents"],
  ["{", "JSON, as the index of a model in several files; load those that it names"],
];

/** The longest beginning, with some space before it. */
const BEGIN_BYTES = 32;

/** Beyond this, the format allows no header. */
const MAX_LENGTH = 100_000_000n;

/** What a file is that is none of safetensors, in words for an error; `undefined` where nobody knows. */
export function foreignFormat(file: Uint8Array): string | undefined {
  if (mayBeLength(file)) return undefined;
  const begin = String.fromCharCode(...file.subarray(0, BEGIN_BYTES));
  const text = begin.trimStart().toLowerCase();
  return FORMATS.find(([bytes]) => begin.startsWith(bytes) || text.startsWith(bytes))?.[1];
}

/**
 * Whether a file begins with the length of a header, which writers bring to a multiple of 8: then it is a broken file
 * of safetensors, though the length 640 has the bytes of a pickle.
 */
function mayBeLength(file: Uint8Array): boolean {
  if (file.length < 8) return false;
  const length = new DataView(file.buffer, file.byteOffset).getBigUint64(0, true);
  return length % 8n === 0n && length <= MAX_LENGTH;
}
