import { allocate } from "../../gpu/array.ts";
import { runtimeOf } from "../../gpu/device.ts";
import {
  decodeHalf,
  decodeHalves,
  encodeHalf,
  encodeHalves,
  type HalfDType,
  halfWgsl,
} from "../../gpu/half.ts";
import type { Kernel } from "../../gpu/runtime/kernels.ts";
import { paramStruct } from "../../gpu/runtime/params.ts";
import { tensorFrom } from "../../gpu/tensor/tensor.ts";
import { assert, assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { sharedDevice } from "../_device.ts";

const device = await sharedDevice();
const DTYPES = ["f16", "bf16"] as const;
/** The bits of infinity. */
const INFINITY_BITS = { f16: 0x7c00, bf16: 0x7f80 };
const ALL_BITS = Uint16Array.from({ length: 2 ** 16 }, (_, bits) => bits);

/** What every pattern of bits stands for, by the runtime's own halves or by those of an f32. */
function truth(dtype: HalfDType): Float32Array {
  if (dtype === "f16") return Float32Array.from(new Float16Array(ALL_BITS.buffer));
  return new Float32Array(Uint32Array.from(ALL_BITS, (bits) => bits << 16).buffer);
}

/** The f32 whose bits are `steps` further from zero. */
function stepped(value: number, steps: number): number {
  const word = new Uint32Array(new Float32Array([value]).buffer);
  word[0]! += steps;
  return new Float32Array(word.buffer)[0]!;
}

/**
 * Floats with the bits of the half they round to: each half, the middle between it and the next one away
 * from zero, which goes to the even one, and the floats on either side of the middle.
 */
function roundingCases(dtype: HalfDType): { values: Float32Array; expected: Uint16Array } {
  const values: number[] = [];
  const expected: number[] = [];
  const infinity = INFINITY_BITS[dtype];
  const halves = truth(dtype);
  // What lies beyond the largest half rounds as if halves went on.
  const beyond = dtype === "f16" ? 2 ** 16 : 2 ** 128;
  for (let bits = 0; bits < infinity; bits++) {
    const [half, next] = [halves[bits]!, bits + 1 === infinity ? beyond : halves[bits + 1]!];
    const middle = half + (next - half) / 2;
    for (const sign of [0, 0x8000]) {
      const signed = sign ? -1 : 1;
      values.push(signed * half, signed * middle);
      expected.push(sign | bits, sign | (bits + bits % 2));
      values.push(signed * stepped(middle, -1), signed * stepped(middle, 1));
      expected.push(sign | bits, sign | (bits + 1));
    }
  }
  values.push(Infinity, -Infinity);
  expected.push(infinity, 0x8000 | infinity);
  return { values: new Float32Array(values), expected: new Uint16Array(expected) };
}

function isNanBits(dtype: HalfDType, bits: number): boolean {
  return (bits & 0x7fff) > INFINITY_BITS[dtype];
}

/** Equal numbers, the sign of zero included, and NaN where there is NaN, whatever its payload. */
function assertSameNumbers(actual: ArrayLike<number>, expected: ArrayLike<number>): void {
  assertEquals(actual.length, expected.length);
  for (let i = 0; i < expected.length; i++) {
    assert(Object.is(actual[i], expected[i]), `${i}: ${actual[i]}, expected ${expected[i]}`);
  }
}

const PARAMS = paramStruct({ blocks: "u32" });
const BODY = /* wgsl */ `
@group(0) @binding(0) var<storage, read> source: array<vec4u>;
@group(0) @binding(1) var<storage, read_write> out: array<vec4u>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  if (id.x < params.blocks) { out[id.x] = convert(source[id.x]); }
}
`;

/** Runs a vec4u -> vec4u function of the twins over words, four at a time. */
async function convertOnDevice(dtype: HalfDType, body: string, words: Uint32Array) {
  const runtime = runtimeOf(device);
  const blocks = Math.ceil(words.length / 4);
  const kernel: Kernel = {
    label: "half_test",
    bindings: ["read", "write"],
    source: `${PARAMS.wgsl}${
      halfWgsl(dtype)
    }fn convert(v: vec4u) -> vec4u { return ${body}; }${BODY}`,
  };
  const [source, out] = [0, 1].map(() => allocate(runtime, [4 * blocks], "u32"));
  const padded = new Uint32Array(4 * blocks);
  padded.set(words);
  runtime.upload(source!.storage, new Uint8Array(padded.buffer));
  runtime.kernels.dispatch(kernel, {
    storages: [source!.storage, out!.storage],
    params: PARAMS.pack({ blocks }),
    workgroups: Math.ceil(blocks / 64),
  });
  const result = new Uint32Array(await runtime.download(out!.storage, 4 * words.length));
  for (const { storage } of [source!, out!]) storage.release();
  return result;
}

for (const dtype of DTYPES) {
  describe(`decodeHalf("${dtype}")`, () => {
    it("gives the number of every pattern of bits, alone or in an array", () => {
      const expected = truth(dtype);
      assertSameNumbers(decodeHalves(dtype, ALL_BITS), expected);
      assertSameNumbers(Array.from(ALL_BITS, (bits) => decodeHalf(dtype, bits)), expected);
    });
  });

  describe(`encodeHalf("${dtype}")`, () => {
    it("rounds to the nearest, ties to even: every half, every middle, its neighbours", () => {
      const { values, expected } = roundingCases(dtype);
      const bits = new Uint16Array(values.length);
      encodeHalves(dtype, values, bits);
      assertSameNumbers(bits, expected);
      encodeHalves(dtype, Float64Array.from(values), bits);
      assertSameNumbers(bits, expected);
    });

    it("keeps NaN as a NaN, of every payload", () => {
      const nans = decodeHalves(dtype, ALL_BITS.filter((bits) => isNanBits(dtype, bits)));
      const words = new Uint32Array(nans.buffer);
      // A NaN whose payload lies only in the bits that are cut off must not become an infinity.
      const all = new Float32Array(Uint32Array.of(...words, 0x7f800001, 0xff800001).buffer);
      const bits = new Uint16Array(all.length);
      encodeHalves(dtype, all, bits);
      assert(bits.every((b) => isNanBits(dtype, b)));
      assert(isNanBits(dtype, encodeHalf(dtype, NaN)));
    });

    it("rounds 64-bit floats once, where a stop at f32 would round twice", () => {
      const ulp = dtype === "f16" ? 2 ** -10 : 2 ** -7;
      const one = encodeHalf(dtype, 1);
      // Less than half an f32 ulp beside the middle: an f32 would lie in the middle itself.
      assertEquals(encodeHalf(dtype, 1 + ulp / 2 + 2 ** -40), one + 1);
      assertEquals(encodeHalf(dtype, 1 + 3 * ulp / 2 - 2 ** -40), one + 1);
      assertEquals(encodeHalf(dtype, 1 + ulp / 2), one);
      assertEquals(encodeHalf(dtype, -1 - ulp / 2 - 2 ** -40), (one + 1) | 0x8000);
      const least = dtype === "f16" ? 2 ** -24 : 2 ** -133;
      assertEquals(encodeHalf(dtype, least / 2 * (1 + 2 ** -40)), 1);
      assertEquals(encodeHalf(dtype, least / 2), 0);
      assertEquals(encodeHalf(dtype, 5e-324), 0);
      assertEquals(encodeHalf(dtype, -5e-324), 0x8000);
    });

    it("overflows to infinity from the middle beyond the largest half", () => {
      const infinity = INFINITY_BITS[dtype];
      const middle = dtype === "f16" ? 65520 : 2 ** 128 - 2 ** 119;
      assertEquals(encodeHalf(dtype, middle), infinity);
      assertEquals(encodeHalf(dtype, middle * (1 - 2 ** -50)), infinity - 1);
      assertEquals(encodeHalf(dtype, -middle), infinity | 0x8000);
      for (const value of [1e39, 1e300, Infinity]) {
        assertEquals(encodeHalf(dtype, value), infinity);
        assertEquals(encodeHalf(dtype, -value), infinity | 0x8000);
      }
    });
  });

  describe(`halfWgsl("${dtype}")`, () => {
    it("decodes every pattern of bits as the host does, in all four components", async () => {
      const words = await convertOnDevice(
        dtype,
        "bitcast<vec4u>(decode_half(v))",
        Uint32Array.from(ALL_BITS),
      );
      assertSameNumbers(new Float32Array(words.buffer), truth(dtype));
    });

    it("encodes every half, every middle and its neighbours as the host does", async () => {
      const { values, expected } = roundingCases(dtype);
      const words = new Uint32Array(values.buffer);
      const bits = await convertOnDevice(dtype, "encode_half(bitcast<vec4f>(v))", words);
      assertSameNumbers(bits, expected);
    });

    it("encodes NaN of every payload as NaN", async () => {
      const nans = Uint32Array.from({ length: 23 }, (_, i) => 0x7f800000 | 2 ** i);
      const words = Uint32Array.of(...nans, ...nans.map((nan) => nan | 0x80000000));
      const bits = await convertOnDevice(dtype, "encode_half(bitcast<vec4f>(v))", words);
      assert(bits.every((b) => b < 2 ** 16 && isNanBits(dtype, b)), bits.join());
    });
  });

  describe(`Tensor.to() of ${dtype}`, () => {
    it("widens every half to the f32 that equals it", async () => {
      const runtime = runtimeOf(device);
      const array = allocate(runtime, [2 ** 16], dtype);
      runtime.upload(array.storage, new Uint8Array(ALL_BITS.buffer.slice(0)));
      using halves = tensorFrom(device, runtime, array);
      using floats = halves.to("f32");
      assertSameNumbers(await floats.data(), truth(dtype));
      assertSameNumbers(await halves.data(), truth(dtype));
    });

    it("narrows f32 to the nearest half", async () => {
      const { values, expected } = roundingCases(dtype);
      using floats = device.tensor(values);
      using halves = floats.to(dtype);
      assertSameNumbers(await halves.data(), decodeHalves(dtype, expected));
    });
  });
}
