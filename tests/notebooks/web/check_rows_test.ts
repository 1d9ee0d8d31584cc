import { type Device, memoryEfficientAttention, type Tensor } from "@denoformers/attention";
import { assertEquals, assertGreater } from "@std/assert";
import { beforeAll, describe, it } from "@std/testing/bdd";
import { checkRows } from "../../../notebooks/web/check_rows.ts";
import type { Inputs, Work } from "../../../notebooks/web/measure.ts";
import { shapeOf } from "../../../notebooks/web/points.ts";
import type { Settings } from "../../../notebooks/web/settings.ts";
import { assertNoLeak, sharedDevice } from "../../_device.ts";
import { SETTINGS } from "./_points.ts";

const { signal } = new AbortController();
const TOKENS = 300;

let device: Device;

/** Checks what a function gives for attention. */
async function check(
  settings: Partial<Settings>,
  attend: (query: Tensor, key: Tensor, value: Tensor) => Tensor,
) {
  const work: Work = {
    way: "memory-efficient",
    tokens: TOKENS,
    settings: { ...SETTINGS, ...settings },
    signal,
  };
  const { dtype } = work.settings;
  const [query, key, value] = [1, 2, 3].map((seed) =>
    device.randn(shapeOf(work.settings, TOKENS), { seed, dtype })
  ) as [Tensor, Tensor, Tensor];
  const inputs: Inputs = { query, key, value, gradient: undefined };
  try {
    return await checkRows(
      inputs,
      () => ({ out: attend(query, key, value), dQuery: undefined }),
      work,
    );
  } finally {
    for (const tensor of [query, key, value]) tensor.dispose();
  }
}

describe("checkRows()", () => {
  beforeAll(async () => {
    device = await sharedDevice();
  });

  it("finds right rows right, and leaves no tensor behind", async () => {
    await assertNoLeak(device, async () => {
      const { error, isRight } = await check({}, memoryEfficientAttention);
      assertEquals(isRight, true);
      assertGreater(1e-5, error);
    });
  });

  const spoilt: Record<string, (out: Tensor) => Tensor> = {
    "zeros": (out) => out.mul(0),
    "NaN": (out) => out.mul(NaN),
    "numbers that are off by a thousandth": (out) => out.mul(1.001),
    "heads in another order": (out) => out.slice(2, 1, 2).expand(out.shape),
  };
  for (const [what, spoil] of Object.entries(spoilt)) {
    it(`finds ${what} wrong`, async () => {
      assertEquals(
        (await check({}, (...inputs) => spoil(memoryEfficientAttention(...inputs)))).isRight,
        false,
      );
    });
  }

  it("finds another mask wrong", async () => {
    for (const mask of ["causal", "window", "packed"] as const) {
      const { isRight } = await check({ mask }, memoryEfficientAttention);
      assertEquals(isRight, false, mask);
    }
  });

  it("finds zeros wrong in half types too, whose tolerance is wider", async () => {
    for (const dtype of ["f16", "bf16"] as const) {
      const { error, isRight } = await check({ dtype }, (query) => query.mul(0));
      assertEquals([error, isRight], [1, false], dtype);
    }
  });
});
