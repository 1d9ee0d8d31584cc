/** Masks, shared heads and ALiBi through every op, against what PyTorch computed block by block. */
import {
  memoryEfficientAttentionForwardRequiresGrad,
  SplitKForwardOp,
  tidy,
} from "@denoformers/attention";
import { assertAllClose } from "@denoformers/attention/testing";
import { assertGreater } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import golden from "../fixtures/varlen_golden.json" with { type: "json" };
import { sharedDevice } from "../_device.ts";
import { isCore } from "../_extent.ts";
import { forwardOpsOn } from "./_ops.ts";
import { TIGHT } from "./_compare.ts";
import { type GoldenCase, makeGolden } from "./masks/_golden.ts";

/** A tensor as the file has it; the script beside it says more. */
interface Stored {
  readonly shape: readonly number[];
  readonly data: readonly (number | string)[];
}

interface VarlenCase extends Pick<GoldenCase, "made"> {
  readonly name: string;
  readonly query: Stored;
  readonly key: Stored;
  readonly value: Stored;
  readonly slopes?: readonly number[];
  readonly out: Stored;
  readonly lse: Stored;
}

const device = await sharedDevice();
const cases = golden as unknown as readonly VarlenCase[];

const numbers = ({ shape, data }: Stored) => ({ shape, data: data.map(Number) });

it("varlen_golden.json has cases", () => assertGreater(cases.length, 10));

for (const op of forwardOpsOn(device)) {
  // It has a kernel for each case and both of a case's ways to cut the keys.
  const ignore = isCore && op === SplitKForwardOp;
  describe(`${op.name} agrees with PyTorch`, { ignore }, () => {
    for (const { name, made, query, key, value, slopes, out, lse } of cases) {
      it(`on ${name}`, async () => {
        const attnBias = made.length > 0 ? await makeGolden({ made }) : undefined;
        const result = tidy(() => {
          const [q, k, v] = [query, key, value].map((stored) => {
            const { shape, data } = numbers(stored);
            return device.tensor(data, { shape });
          });
          return memoryEfficientAttentionForwardRequiresGrad(q!, k!, v!, {
            attnBias,
            alibiSlopes: slopes,
            op,
          });
        });
        const read = { shape: result.out.shape, data: await result.out.data() };
        const readLse = { shape: result.lse.shape, data: await result.lse.data() };
        result.out.dispose();
        result.lse.dispose();
        // Inputs of standard deviation 1, as TIGHT has it.
        assertAllClose(read, numbers(out), TIGHT);
        assertAllClose(readLse, numbers(lse), TIGHT);
      });
    }
  });
}
