/** The same bits every time, and whatever lies in memory behind what is to be read. */
import {
  type AttentionBias,
  type AttentionForwardOptions,
  cat,
  type Device,
  LowerTriangularFromBottomRightMask,
  memoryEfficientAttentionForwardRequiresGrad,
  type Tensor,
  tidy,
} from "@denoformers/attention";
import { assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { sharedDevice } from "../_device.ts";
import { isCore } from "../_extent.ts";
import { forwardOpsOn } from "./_ops.ts";
import { randomValues } from "./_compare.ts";
import { MASK_FAMILIES, SHORT_BLOCKS } from "./_mask_cases.ts";

const device = await sharedDevice();
const [H, K] = [2, 8];

/** What a call reads, as the sizes of it. */
interface Call {
  readonly B: number;
  readonly Mq: number;
  readonly Mkv: number;
  readonly hasBias?: boolean;
  readonly dtype?: "f32" | "f16";
  readonly options: AttentionForwardOptions & { readonly attnBias?: AttentionBias };
}

/**
 * Output and log-sum-exp as bits. With `behind`, NaN follows the last row of each sequence, as upstream has
 * it: lengths are padded to a multiple of 256 and the views end where they did.
 */
async function bitsOf(
  on: Device,
  { B, Mq, Mkv, hasBias = false, dtype = "f32", options }: Call,
  { behind }: { behind: boolean },
): Promise<Uint32Array[]> {
  const { out, lse } = tidy(() => {
    const upload = (axis: number, shape: number[], seed: number): Tensor => {
      const count = shape.reduce((a, b) => a * b, 1);
      const dense = on.tensor(randomValues(count, seed), { shape, dtype });
      if (!behind) return dense;
      const length = shape[axis]!;
      const rest = shape.with(axis, Math.ceil((length + 1) / 256) * 256 - length);
      return cat([dense, on.full(rest, NaN, { dtype })], axis).slice(axis, 0, length);
    };
    const tensor = hasBias ? upload(3, [B, H, Mq, Mkv], 4) : undefined;
    const { attnBias } = options;
    return memoryEfficientAttentionForwardRequiresGrad(
      upload(1, [B, Mq, H, K], 1),
      upload(1, [B, Mkv, H, K], 2),
      upload(1, [B, Mkv, H, K], 3),
      { ...options, attnBias: attnBias && tensor ? attnBias.addBias(tensor) : attnBias ?? tensor },
    );
  });
  const results = [await out.data(), await lse.data()];
  out.dispose();
  lse.dispose();
  return results.map((values) => new Uint32Array(Float32Array.from(values).buffer));
}

for (const op of forwardOpsOn(device)) {
  describe(`${op.name} gives the same bits`, () => {
    const attnBias = new LowerTriangularFromBottomRightMask();
    // 5 queries are few enough for splitKF to cut 600 keys into parts.
    const calls: Readonly<Record<string, Call>> = {
      "without a mask": { B: 2, Mq: 70, Mkv: 77, options: {} },
      "in parts": { B: 1, Mq: 5, Mkv: 600, options: {} },
      "with a causal mask": { B: 2, Mq: 70, Mkv: 77, options: { attnBias } },
      "with a bias": { B: 2, Mq: 33, Mkv: 45, hasBias: true, options: { attnBias } },
      "with dropout": { B: 2, Mq: 33, Mkv: 45, options: { p: 0.3, seed: 5 } },
      "on halves": { B: 2, Mq: 33, Mkv: 45, dtype: "f16", options: {} },
    };
    for (const [name, call] of Object.entries(calls)) {
      it(`${name}, also with NaN behind its inputs`, async () => {
        const forced = { ...call, options: { ...call.options, op } };
        const first = await bitsOf(device, forced, { behind: false });
        assertEquals(await bitsOf(device, forced, { behind: false }), first);
        assertEquals(await bitsOf(device, forced, { behind: true }), first);
      });
    }

    it(
      "with every family of masks, also with NaN behind its inputs",
      { ignore: isCore },
      async () => {
        for (const { mask, ...sizes } of [...MASK_FAMILIES, ...SHORT_BLOCKS]) {
          const call = { ...sizes, options: { op, attnBias: mask } };
          const first = await bitsOf(device, call, { behind: false });
          assertEquals(await bitsOf(device, call, { behind: true }), first, mask.constructor.name);
        }
      },
    );
  });
}
