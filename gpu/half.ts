/**
 * The two 16-bit floats, to and from wider ones: on the host from 64-bit floats, in kernels from f32.
 * Rounding is to the nearest, ties to even. All of it is integer arithmetic: WGSL leaves the rounding of
 * its own conversions and the fate of subnormals to drivers, and many flush f32 subnormals to zero.
 */

/** The element types of 16 bits: IEEE's half precision, and the upper half of an f32. */
export type HalfDType = "f16" | "bf16";

interface HalfFormat {
  /** Bits behind the point of a significand. */
  readonly fractionBits: number;
  /** Exponent of the least normal number, which subnormals share. */
  readonly leastExponent: number;
  /** The bits of infinity; above them lie the NaNs. */
  readonly infinity: number;
  /** The bits of a quiet NaN. */
  readonly nan: number;
}

const FORMATS: Record<HalfDType, HalfFormat> = {
  f16: { fractionBits: 10, leastExponent: -14, infinity: 0x7c00, nan: 0x7e00 },
  bf16: { fractionBits: 7, leastExponent: -126, infinity: 0x7f80, nan: 0x7fc0 },
};

const float64 = new Float64Array(1);
const float64Words = new Uint32Array(float64.buffer);
const float32 = new Float32Array(1);
const float32Word = new Uint32Array(float32.buffer);

/** The bits of the half nearest to a number, rounded once; beyond the largest half lies infinity. */
export function encodeHalf(dtype: HalfDType, value: number): number {
  const { fractionBits, leastExponent, infinity, nan } = FORMATS[dtype];
  if (Number.isNaN(value)) return nan;
  float64[0] = value;
  const high = float64Words[1]!;
  const sign = high >>> 31 << 15;
  const exponent = Math.max((high >>> 20 & 0x7ff) - 1023, leastExponent);
  if (exponent > 127) return sign | infinity;
  // In units of the last bit, which is an exact division by a power of two.
  const units = Math.abs(value) / 2 ** (exponent - fractionBits);
  const whole = Math.floor(units);
  const rest = units - whole;
  const rounded = rest > 0.5 || (rest === 0.5 && whole % 2 === 1) ? whole + 1 : whole;
  // The leading bit of a normal significand counts as one step of the exponent; so does a carry.
  const bits = ((exponent - leastExponent) << fractionBits) + rounded;
  return sign | Math.min(bits, infinity);
}

/** The number that the bits of a half stand for. */
export function decodeHalf(dtype: HalfDType, bits: number): number {
  float32Word[0] = dtype === "f16" ? widenF16(bits) : bits << 16;
  return float32[0]!;
}

/** The half nearest to a number. */
export function roundToHalf(dtype: HalfDType, value: number): number {
  return decodeHalf(dtype, encodeHalf(dtype, value));
}

/** Writes the bits of the halves nearest to each value to the start of `target`. */
export function encodeHalves(
  dtype: HalfDType,
  values: ArrayLike<number | boolean>,
  target: Uint16Array,
): void {
  if (!(values instanceof Float32Array)) {
    for (let i = 0; i < values.length; i++) target[i] = encodeHalf(dtype, Number(values[i]));
    return;
  }
  const words = new Uint32Array(values.buffer, values.byteOffset, values.length);
  const narrow = dtype === "f16" ? narrowToF16 : narrowToBf16;
  for (let i = 0; i < words.length; i++) target[i] = narrow(words[i]!);
}

/** The numbers that the bits of halves stand for; every half is a float. */
export function decodeHalves(dtype: HalfDType, bits: Uint16Array): Float32Array<ArrayBuffer> {
  const values = new Float32Array(bits.length);
  const words = new Uint32Array(values.buffer);
  if (dtype === "bf16") {
    for (let i = 0; i < bits.length; i++) words[i] = bits[i]! << 16;
  } else {
    for (let i = 0; i < bits.length; i++) words[i] = widenF16(bits[i]!);
  }
  return values;
}

/** The bits of the f32 that equals the f16 with these bits; `DECODE_F16` is its twin. */
function widenF16(bits: number): number {
  const sign = (bits & 0x8000) << 16;
  const magnitude = bits & 0x7fff;
  if (magnitude >= 0x7c00) return sign | ((magnitude << 13) + 0x70000000);
  if (magnitude >= 0x0400) return sign | ((magnitude << 13) + 0x38000000);
  if (magnitude === 0) return sign;
  const zeros = Math.clz32(magnitude);
  return sign | (((133 - zeros) << 23) + (magnitude << (zeros - 8)));
}

/** The bits of the f16 nearest to the f32 with these bits; `ENCODE_F16` is its twin. */
function narrowToF16(word: number): number {
  const sign = word >>> 16 & 0x8000;
  const magnitude = word & 0x7fffffff;
  if (magnitude > 0x7f800000) return sign | 0x7e00 | (magnitude >>> 13 & 0x03ff);
  if (magnitude >= 0x38800000) {
    const rounded = magnitude + 0x0fff + (magnitude >>> 13 & 1);
    return sign | Math.min((rounded - 0x38000000) >>> 13, 0x7c00);
  }
  const significand = (magnitude & 0x007fffff) | 0x00800000;
  const shift = Math.min(126 - (magnitude >>> 23), 25);
  const odd = significand >>> shift & 1;
  return sign | (significand + (1 << (shift - 1)) - 1 + odd) >>> shift;
}

/** The bits of the bf16 nearest to the f32 with these bits; `ENCODE_BF16` is its twin. */
function narrowToBf16(word: number): number {
  if ((word & 0x7fffffff) > 0x7f800000) return word >>> 16 | 0x0040;
  return (word + 0x7fff + (word >>> 16 & 1)) >>> 16;
}

/**
 * The exponents' biases are 112 apart, 0x38000000 in place, and twice that apart for infinity and NaN. With an
 * exponent of 1 a subnormal reads as itself and 2^-14, which is subtracted exactly; its float is normal.
 */
const DECODE_F16 = /* wgsl */ `(bits: vec4u) -> vec4f {
  let sign = (bits & vec4u(0x8000u)) << vec4u(16u);
  let magnitude = bits & vec4u(0x7fffu);
  var word = (magnitude << vec4u(13u)) + vec4u(0x38000000u);
  let doubled = bitcast<vec4f>(word + vec4u(0x00800000u));
  let subnormal = bitcast<vec4u>(doubled - vec4f(6.103515625e-5));
  word += select(vec4u(0u), vec4u(0x38000000u), magnitude >= vec4u(0x7c00u));
  word = select(word, subnormal, magnitude < vec4u(0x0400u));
  return bitcast<vec4f>(sign | word);
}
`;

/**
 * Adding half of what is cut off, less one if the last kept bit is even, carries just where rounding to
 * even goes up. Below 2^-14 the hidden bit is made plain and the cut moves up; from 2^-25 down nothing
 * is left.
 */
const ENCODE_F16 = /* wgsl */ `(values: vec4f) -> vec4u {
  let word = bitcast<vec4u>(values);
  let sign = (word >> vec4u(16u)) & vec4u(0x8000u);
  let magnitude = word & vec4u(0x7fffffffu);
  let rounded = magnitude + vec4u(0x0fffu) + ((magnitude >> vec4u(13u)) & vec4u(1u));
  let normal = min((rounded - vec4u(0x38000000u)) >> vec4u(13u), vec4u(0x7c00u));
  let significand = (magnitude & vec4u(0x007fffffu)) | vec4u(0x00800000u);
  let shift = min(vec4u(126u) - (magnitude >> vec4u(23u)), vec4u(25u));
  let odd = (significand >> shift) & vec4u(1u);
  let subnormal = (significand + (vec4u(1u) << (shift - vec4u(1u))) - vec4u(1u) + odd) >> shift;
  let nan = vec4u(0x7e00u) | ((magnitude >> vec4u(13u)) & vec4u(0x03ffu));
  let half = select(subnormal, normal, magnitude >= vec4u(0x38800000u));
  return sign | select(half, nan, magnitude > vec4u(0x7f800000u));
}
`;

const DECODE_BF16 = /* wgsl */ `(bits: vec4u) -> vec4f {
  return bitcast<vec4f>(bits << vec4u(16u));
}
`;

const ENCODE_BF16 = /* wgsl */ `(values: vec4f) -> vec4u {
  let word = bitcast<vec4u>(values);
  let rounded = (word + vec4u(0x7fffu) + ((word >> vec4u(16u)) & vec4u(1u))) >> vec4u(16u);
  let nan = (word >> vec4u(16u)) | vec4u(0x0040u);
  return select(rounded, nan, (word & vec4u(0x7fffffffu)) > vec4u(0x7f800000u));
}
`;

/**
 * WGSL twins of {@linkcode decodeHalf} and {@linkcode encodeHalf} for four elements at a time:
 * `fn decode_half<suffix>(bits: vec4u) -> vec4f`, whose argument holds the 16 bits of one element in
 * each component, and `fn encode_half<suffix>(values: vec4f) -> vec4u`. A NaN stays one; its sign and
 * what fits of its payload are kept.
 *
 * @param dtype The element type.
 * @param suffix Ends both names, so that a kernel can have both types. Default: none.
 */
export function halfWgsl(dtype: HalfDType, suffix = ""): string {
  const [decode, encode] = dtype === "f16" ? [DECODE_F16, ENCODE_F16] : [DECODE_BF16, ENCODE_BF16];
  return `fn decode_half${suffix}${decode}fn encode_half${suffix}${encode}`;
}
