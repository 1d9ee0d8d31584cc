/** Safetensors: files of the Python library and our own, broken ones, and random damage. */
import { type Device, type DType, requestDevice, type Tensor, tidy } from "@denoformers/attention";
import { assertEquals, assertRejects, assertStringIncludes, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import fc from "fast-check";
import {
  listSafetensors,
  loadSafetensors,
  readSafetensorsMetadata,
  saveSafetensors,
} from "../../../attention/layers/safetensors.ts";
import { byteSize } from "../../../gpu/array.ts";
import { runtimeOf } from "../../../gpu/device.ts";
import { encodingOf } from "../../../gpu/dtype.ts";
import { arrayOf } from "../../../gpu/tensor/base.ts";
import block from "../../fixtures/block_golden.json" with { type: "json" };
import halves from "../../fixtures/halves_golden.json" with { type: "json" };
import { assertNoLeak, sharedDevice } from "../../_device.ts";
import { BROKEN_FILES, entry, makeFile } from "./_safetensors_files.ts";

const seed = Number(Deno.env.get("DENOFORMERS_FUZZ_SEED") ?? 1);
const device = await sharedDevice();
const fixture = (name: string) => Deno.readFile(new URL(`../../fixtures/${name}`, import.meta.url));
const halvesFile = await fixture("halves.safetensors");
const blockFile = await fixture("block.safetensors");

interface Bits {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly bits: readonly number[];
}

/** The bits of a dense tensor's elements, which `data()` would convert. */
async function bitsOf(tensor: Tensor): Promise<Bits> {
  const { dtype, shape, size } = tensor;
  const buffer = await runtimeOf(tensor.device).download(
    arrayOf(tensor).storage,
    byteSize(shape, dtype),
  );
  const Integers = { 1: Uint8Array, 2: Uint16Array, 4: Uint32Array }[encodingOf(dtype).bytes]!;
  return { dtype, shape: [...shape], bits: [...new Integers(buffer, 0, size)] };
}

async function allBits(tensors: Record<string, Tensor>): Promise<Record<string, Bits>> {
  const found: Record<string, Bits> = {};
  for (const [name, tensor] of Object.entries(tensors)) found[name] = await bitsOf(tensor);
  return found;
}

function disposeAll(tensors: Record<string, Tensor>): void {
  for (const tensor of Object.values(tensors)) tensor.dispose();
}

describe("loadSafetensors()", () => {
  it("reads what the Python library wrote bit by bit, of every type", async () => {
    await assertNoLeak(device, async () => {
      const tensors = loadSafetensors(device, halvesFile);
      assertEquals(await allBits(tensors), halves.tensors);
      disposeAll(tensors);
    });
  });

  it("reads a block's weights under the names and shapes of its gradients", async () => {
    const tensors = loadSafetensors(device, blockFile);
    const shapes = (of: Record<string, { shape: readonly number[] }>) =>
      Object.entries(of).map(([name, { shape }]) => `${name} [${shape}]`).sort();
    assertEquals(shapes(tensors), shapes(block.gradients));
    // Initially 1, plus 0.2 times a normal number.
    const weights = await tensors["norm1.weight"]!.data();
    assertEquals(weights.every((weight) => Math.abs(weight - 1) < 1), true);
    disposeAll(tensors);
  });

  it("takes an ArrayBuffer, a view at any byte and shared memory", async () => {
    const { length } = halvesFile;
    const shared = new Uint8Array(new SharedArrayBuffer(length + 1));
    const odd = new Uint8Array(length + 9);
    shared.set(halvesFile, 1);
    odd.set(halvesFile, 3);
    for (const file of [halvesFile.buffer, odd.subarray(3, 3 + length), shared.subarray(1)]) {
      const tensors = loadSafetensors(device, file);
      assertEquals(await allBits(tensors), halves.tensors);
      disposeAll(tensors);
    }
  });

  it("does not see what becomes of the file afterwards", async () => {
    const file = halvesFile.slice();
    const tensors = loadSafetensors(device, file);
    file.fill(0xff);
    assertEquals(await allBits(tensors), halves.tensors);
    disposeAll(tensors);
  });

  it("takes every bool but 0 for true, as PyTorch does", async () => {
    const file = makeFile({ a: entry("BOOL", [5], 0, 5) }, [0, 1, 2, 7, 255]);
    using tensor = loadSafetensors(device, file).a!;
    assertEquals(await tensor.toArray(), [false, true, true, true, true]);
    assertEquals((await bitsOf(tensor)).bits, [0, 1, 1, 1, 1]);
  });

  it("gives names of Object.prototype back as names", () => {
    const json = '{"__proto__":{"dtype":"BOOL","shape":[],"data_offsets":[0,1]},' +
      '"toString":{"dtype":"F16","shape":[0],"data_offsets":[1,1]}}';
    const tensors = loadSafetensors(device, makeFile(json, [1]));
    assertEquals(Object.keys(tensors).sort(), ["__proto__", "toString"]);
    assertEquals(Object.getPrototypeOf(tensors), null);
    disposeAll(tensors);
  });

  it("shows the filter names, types and shapes, which it may change", () => {
    const seen: unknown[] = [];
    const tensors = loadSafetensors(device, halvesFile, {
      filter: (name, entry) => {
        seen.push([name, structuredClone(entry)]);
        (entry.shape as number[]).push(9);
        return false;
      },
    });
    assertEquals(Object.keys(tensors), []);
    assertEquals(seen, listSafetensors(halvesFile).map((entry) => [entry.name, entry]));
  });

  it("refuses every broken file with its reason, before anything is allocated", () => {
    const before = device.memory();
    for (const { file, error, says } of BROKEN_FILES) {
      assertThrows(() => loadSafetensors(device, file), error, says);
    }
    assertEquals(device.memory(), before);
  });

  it("refuses what is no bytes", () => {
    const read = (file: unknown) => () => loadSafetensors(device, file as Uint8Array);
    assertThrows(
      read("a.safetensors"),
      TypeError,
      'file is "a.safetensors", expected an ArrayBuffer',
    );
    assertThrows(read(new Blob()), TypeError, "await blob.arrayBuffer()");
    assertThrows(read(null), TypeError, "file is null");
  });

  it("disposes what it has loaded when a later tensor does not fit the device", async () => {
    using small: Device = await requestDevice({ tune: false, limits: { maxBufferSize: 2 ** 16 } });
    const end = 4 + 2 ** 16 + 4;
    const file = makeFile(
      { a: entry("F32", [1], 0, 4), b: entry("F32", [2 ** 14 + 1], 4, end) },
      new Uint8Array(end),
    );
    assertThrows(() => loadSafetensors(small, file), RangeError, "maxBufferSize is 65536");
    const { tensors, buffers, allocatedBytes } = small.memory();
    assertEquals([tensors, buffers, allocatedBytes], [0, 0, 0]);
  });

  it("loads a file with random damage or says what is wrong, and leaves nothing behind", async () => {
    // Most of the file is the header.
    const position = fc.oneof(fc.nat(15), fc.nat(halvesFile.length - 1));
    const byte = fc.oneof(
      fc.constantFrom(...new TextEncoder().encode('"{}[]:,\\019 -')),
      fc.nat(255),
    );
    const damage = fc.record({
      changes: fc.array(fc.tuple(position, byte), { maxLength: 4 }),
      length: fc.oneof(fc.constant(halvesFile.length), fc.nat(halvesFile.length)),
    });
    await assertNoLeak(device, () =>
      fc.assert(
        fc.property(damage, ({ changes, length }) => {
          const file = halvesFile.slice(0, length);
          for (const [at, value] of changes) if (at < length) file[at] = value;
          assertLoadsOrExplains(file);
        }),
        { seed, numRuns: 1000 },
      ));
    await device.sync();
  });
});

/** Asserts that the file loads, or that it is refused by an error of ours without an allocation. */
function assertLoadsOrExplains(file: Uint8Array<ArrayBuffer>): void {
  const before = device.memory();
  let tensors: Record<string, Tensor>;
  try {
    tensors = loadSafetensors(device, file);
  } catch (error) {
    assertEquals(error instanceof TypeError || error instanceof RangeError, true, String(error));
    assertEquals(/^Cannot (read|load) safetensors: /.test((error as Error).message), true);
    assertEquals(device.memory(), before);
    return;
  }
  disposeAll(tensors);
}

describe("listSafetensors()", () => {
  it("gives names, types and shapes in the order of the data, of any type", () => {
    const header = {
      second: entry("F8_E5M2", [4], 8, 12),
      first: entry("I64", [1, 1], 0, 8),
      last: entry("F7_NEW", [2], 12, 13),
    };
    assertEquals(listSafetensors(makeFile(header, Array(13).fill(0))), [
      { name: "first", dtype: "I64", shape: [1, 1] },
      { name: "second", dtype: "F8_E5M2", shape: [4] },
      { name: "last", dtype: "F7_NEW", shape: [2] },
    ]);
  });

  it("refuses a broken file", () => {
    assertThrows(() => listSafetensors(blockFile.subarray(1)), RangeError, "the header's");
  });
});

describe("readSafetensorsMetadata()", () => {
  it("gives the texts of the file", () => {
    const texts = Object.entries(readSafetensorsMetadata(halvesFile));
    assertEquals(texts, Object.entries(halves.metadata));
    assertEquals(Object.keys(readSafetensorsMetadata(blockFile)), []);
    assertEquals(Object.getPrototypeOf(readSafetensorsMetadata(blockFile)), null);
  });

  it("refuses a broken file", () => {
    assertThrows(() => readSafetensorsMetadata(blockFile.subarray(1)), RangeError, "the header's");
  });
});

describe("saveSafetensors()", () => {
  it("writes the very bytes of the Python library", async () => {
    for (const file of [halvesFile, blockFile]) {
      const tensors = loadSafetensors(device, file);
      const metadata = readSafetensorsMetadata(file);
      assertEquals(await saveSafetensors(tensors, { metadata }), file);
      disposeAll(tensors);
    }
  });

  it("writes views of any strides and every type as what they show", async () => {
    const dtypes: DType[] = ["f32", "f16", "bf16", "i32", "u32", "bool"];
    for (const dtype of dtypes) {
      await assertNoLeak(device, async () => {
        const views = tidy(() => {
          const whole = device.arange(-3, 27).reshape([5, 6]).to(dtype === "u32" ? "i32" : dtype)
            .to(dtype);
          return {
            transposed: whole.transpose(0, 1),
            odd: whole.slice(1, 1, 6, 2).slice(0, 1, 4),
            row: whole.select(0, 3),
            repeated: whole.select(0, 1).unsqueeze(0).expand([3, 6]),
            scalar: whole.select(0, 4).select(0, 5),
            empty: whole.slice(0, 2, 2),
          };
        });
        const loaded = loadSafetensors(device, await saveSafetensors(views));
        assertEquals(Object.keys(loaded).sort(), Object.keys(views).sort());
        for (const [name, view] of Object.entries(views)) {
          assertEquals(loaded[name]!.dtype, dtype);
          assertEquals(await loaded[name]!.toArray(), await view.toArray(), `${name} of ${dtype}`);
        }
        disposeAll(views);
        disposeAll(loaded);
      });
    }
  });

  it("writes what the tensors were when it was called, though they are disposed at once", async () => {
    const tensors = { a: device.arange(0, 5), b: device.arange(5, 10) };
    const saved = saveSafetensors(tensors);
    disposeAll(tensors);
    using other = device.zeros([5]); // Would take the memory, were it free.
    const loaded = loadSafetensors(device, await saved);
    assertEquals(await loaded.a!.toArray(), [0, 1, 2, 3, 4]);
    assertEquals(await loaded.b!.toArray(), [5, 6, 7, 8, 9]);
    assertEquals(other.size, 5);
    disposeAll(loaded);
  });

  it("gives the same bytes whatever the order, for names like numbers as for others", async () => {
    using x = device.tensor([1, 2]);
    const tensors = { "10": x, "9": x, b: x, "\u{1f600}": x, "\uffee": x, a: x };
    const reversed = Object.fromEntries(Object.entries(tensors).reverse());
    const file = await saveSafetensors(tensors);
    assertEquals(await saveSafetensors(reversed), file);
    const header = new TextDecoder().decode(file);
    const order = ["10", "9", "a", "b", "\uffee", "\u{1f600}"].map((name) =>
      header.indexOf(`"${name}":`)
    );
    assertEquals(order, [...order].sort((a, b) => a - b));
    assertEquals(order[0]! > 0, true);
  });

  it("writes a file without tensors", async () => {
    const file = await saveSafetensors({});
    assertEquals(file.length, 16);
    assertEquals(Object.keys(loadSafetensors(device, file)), []);
  });

  it("refuses a tensor that is changed in place meanwhile", async () => {
    using x = device.tensor([1, 2]);
    const saved = saveSafetensors({ x });
    arrayOf(x).storage.version++; // As a step of an optimiser does.
    const error = await assertRejects(() => saved, Error) as Error;
    assertStringIncludes(error.message, 'tensor "x" was changed in place meanwhile');
  });

  it("refuses what the format cannot hold, by name", async () => {
    using x = device.tensor([1]);
    const disposed = device.tensor([1]);
    disposed.dispose();
    const metadata = (value: unknown) => ({ metadata: { key: value as string } });
    const calls: [Promise<unknown>, string][] = [
      [saveSafetensors({ __metadata__: x }), 'a tensor is named "__metadata__"'],
      [saveSafetensors({ "a\ud800": x }), 'a tensor is named "a\\ud800", expected well-formed'],
      [saveSafetensors({ x, y: disposed }), 'tensor "y" is disposed'],
      [saveSafetensors({ n: 5 as unknown as Tensor }), '"n" is 5, expected a Tensor'],
      [saveSafetensors({ x }, metadata(3)), 'metadata has number as "key", expected'],
      [saveSafetensors({ x }, metadata("\udc00")), 'metadata has "\\udc00" as "key"'],
    ];
    for (const [call, text] of calls) await assertRejects(() => call, TypeError, text);
  });
});
