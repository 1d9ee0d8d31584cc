/** Element types of safetensors files that are none of ours: what becomes of them, and what is refused. */
import type { DType, Tensor } from "@denoformers/attention";
import { assertEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { loadSafetensors } from "../../../attention/layers/safetensors.ts";
import { sharedDevice } from "../../_device.ts";
import { entry, makeFile } from "./_safetensors_files.ts";

const device = await sharedDevice();

function disposeAll(tensors: Record<string, Tensor>): void {
  for (const tensor of Object.values(tensors)) tensor.dispose();
}

describe("loadSafetensors()", () => {
  it("loads whole numbers of other types as the same in 32 bits, or says which do not fit", async () => {
    const bytes = (list: ArrayBufferView) => [...new Uint8Array(list.buffer)];
    const fits: [type: string, list: ArrayBufferView, dtype: DType, expected: number[]][] = [
      ["I64", BigInt64Array.of(-(2n ** 31n), -1n, 2n ** 31n - 1n), "i32", [
        -(2 ** 31),
        -1,
        2 ** 31 - 1,
      ]],
      ["U64", BigUint64Array.of(0n, 2n ** 31n, 2n ** 32n - 1n), "u32", [0, 2 ** 31, 2 ** 32 - 1]],
      ["I16", Int16Array.of(-32768, -1, 32767), "i32", [-32768, -1, 32767]],
      ["U16", Uint16Array.of(0, 1, 65535), "u32", [0, 1, 65535]],
      ["I8", Int8Array.of(-128, -1, 127), "i32", [-128, -1, 127]],
      ["U8", Uint8Array.of(0, 1, 255), "u32", [0, 1, 255]],
    ];
    for (const [type, list, dtype, expected] of fits) {
      // Behind one bool, so that no element begins at a multiple of its size.
      const { byteLength } = list;
      const header = { a: entry("BOOL", [1], 0, 1), b: entry(type, [3], 1, 1 + byteLength) };
      const tensors = loadSafetensors(device, makeFile(header, [1, ...bytes(list)]));
      assertEquals([tensors.b!.dtype, [...await tensors.b!.data()]], [dtype, expected], type);
      disposeAll(tensors);
    }
    const before = device.memory();
    const wide: [type: string, list: ArrayBufferView, says: string][] = [
      [
        "I64",
        BigInt64Array.of(1n, 2n ** 31n),
        "2147483648n at [0, 1], expected numbers that fit i32",
      ],
      ["I64", BigInt64Array.of(-(2n ** 31n) - 1n, 0n), "-2147483649n at [0, 0]"],
      [
        "U64",
        BigUint64Array.of(0n, 2n ** 32n),
        "4294967296n at [0, 1], expected numbers that fit u32",
      ],
    ];
    for (const [type, list, says] of wide) {
      const header = { a: entry("F32", [1], 0, 4), ids: entry(type, [1, 2], 4, 20) };
      const file = makeFile(header, [0, 0, 0, 0, ...bytes(list)]);
      assertThrows(
        () => loadSafetensors(device, file),
        RangeError,
        `Cannot load safetensors: tensor "ids" of ${type} is ${says}`,
      );
      const tensors = loadSafetensors(device, file, { filter: (_, { dtype }) => dtype === "F32" });
      assertEquals(Object.keys(tensors), ["a"]);
      disposeAll(tensors);
    }
    assertEquals(device.memory().tensors, before.tensors);
  });

  it("refuses other types by the names of all tensors, before anything is allocated", () => {
    const header = {
      a: entry("F32", [1], 0, 4),
      steps: entry("F64", [1], 4, 12),
      scale: entry("F8_E4M3", [2], 12, 14),
      later: entry("F7_NEW", [3], 14, 16),
    };
    const file = makeFile(header, Array(16).fill(0));
    const before = device.memory();
    const { message } = assertThrows(() => loadSafetensors(device, file), TypeError) as Error;
    assertEquals(
      message,
      'Cannot load safetensors: the file has "steps" of F64, "scale" of F8_E4M3, "later" of F7_NEW, expected ' +
        "F32, U32, I32, BF16, F16, BOOL, I64, U64, I16, I8, U16, U8; leave others out by filter: " +
        '(name, { dtype }) => !["F64","F8_E4M3","F7_NEW"].includes(dtype), or take F64 rounded to f32 by ' +
        "roundF64: true",
    );
    assertEquals(device.memory(), before);
    const others = ["F64", "F8_E4M3", "F7_NEW"];
    const tensors = loadSafetensors(device, file, {
      filter: (_, { dtype }) => !others.includes(dtype),
    });
    assertEquals(Object.keys(tensors), ["a"]);
    disposeAll(tensors);
  });

  it("takes F64 only when told to round it", async () => {
    const list = Float64Array.of(0.1, -1e-3, 2 ** 40 + 1);
    const file = makeFile({ a: entry("F64", [3], 0, 24) }, new Uint8Array(list.buffer));
    assertThrows(() => loadSafetensors(device, file, { roundF64: false }), TypeError, '"a" of F64');
    using tensor = loadSafetensors(device, file, { roundF64: true }).a!;
    assertEquals([tensor.dtype, [...await tensor.data()]], ["f32", [...new Float32Array(list)]]);
  });

  it("loads tensors without elements, of any type", () => {
    const header = {
      weight: entry("F32", [1], 0, 4),
      scaled_fp8: entry("F8_E4M3", [0], 4, 4),
      ids: entry("I64", [2, 0], 4, 4),
    };
    const tensors = loadSafetensors(device, makeFile(header, [0, 0, 0, 0]));
    const found = Object.entries(tensors).map(([name, t]) => `${name} ${t.dtype} [${t.shape}]`);
    assertEquals(found.sort(), ["ids i32 [2,0]", "scaled_fp8 f32 [0]", "weight f32 [1]"]);
    disposeAll(tensors);
    // A type that nobody knows may take no bytes for its elements.
    const unknown = makeFile({ a: entry("F7_NEW", [3], 0, 0) });
    assertThrows(() => loadSafetensors(device, unknown), TypeError, '"a" of F7_NEW');
  });
});
