import { type Device, GpuOutOfMemoryError, requestDevice } from "@denoformers/attention";
import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { beforeAll, describe, it } from "@std/testing/bdd";
import { measurePoint } from "../../../notebooks/web/measure.ts";
import { type Point, WAYS } from "../../../notebooks/web/points.ts";
import type { Settings } from "../../../notebooks/web/settings.ts";
import {
  pointCount,
  sweep,
  type SweepEvent,
  type SweepOptions,
} from "../../../notebooks/web/sweep.ts";
import { assertNoLeak, sharedDevice } from "../../_device.ts";
import { measuredPoint, SETTINGS } from "./_points.ts";

const { signal: NEVER } = new AbortController();

let device: Device;

async function pointsOf(
  settings: Partial<Settings>,
  options: Partial<SweepOptions> = {},
  on: Device = device,
): Promise<readonly Point[]> {
  let points: readonly Point[] = [];
  for await (
    const event of sweep(on, { ...SETTINGS, ...settings }, { signal: NEVER, ...options })
  ) {
    if (event.kind === "point") points = event.points;
  }
  return points;
}

const byTheLaws: typeof measurePoint = (_device, { way, tokens, settings }) =>
  Promise.resolve(measuredPoint(way, tokens, settings));

describe("sweep()", () => {
  beforeAll(async () => {
    device = await sharedDevice();
  });

  it("announces each point, then gives it with those before", async () => {
    const events: SweepEvent[] = [];
    const settings = { ...SETTINGS, longest: 300 };
    for await (const event of sweep(device, settings, { signal: NEVER, measure: byTheLaws })) {
      events.push(event);
    }
    const expected = [256, 300].flatMap((tokens) => WAYS.map((way) => ({ way, tokens })));
    assertEquals(pointCount(settings), expected.length);
    assertEquals(
      events.filter(({ kind }) => kind === "measuring"),
      expected.map((place) => ({ kind: "measuring" as const, ...place })),
    );
    const points = expected.map(({ way, tokens }) => measuredPoint(way, tokens));
    assertEquals(
      events.filter(({ kind }) => kind === "point"),
      points.map((_, n) => ({ kind: "point" as const, points: points.slice(0, n + 1) })),
    );
  });

  for (
    const settings of [
      { isTraining: true, mask: "causal" },
      { dtype: "f16", mask: "window" },
      { dtype: "bf16", mask: "packed" },
    ] as const
  ) {
    it(`measures and checks ${JSON.stringify(settings)}`, async () => {
      await assertNoLeak(device, async () => {
        for (const point of await pointsOf({ ...settings, longest: 300 })) {
          assert(point.kind === "measured");
          assertEquals(point.isRight, true, `error ${point.error}`);
          assert(point.milliseconds > 0 && point.peakBytes > 0);
        }
      });
    });
  }

  it("counts the memory that the laws say", async () => {
    const points = await pointsOf({ longest: 512 });
    for (const point of points) {
      assert(point.kind === "measured");
      const law = measuredPoint(point.way, point.tokens).peakBytes;
      // A few numbers a row stand beside the formula's matrices.
      const rows = 64 * SETTINGS.heads * point.tokens;
      assert(point.peakBytes >= law && point.peakBytes <= law + rows, `${point.peakBytes}, ${law}`);
    }
  });

  it("leaves out what would take too much memory, but no short length", async () => {
    const points = await pointsOf({ longest: 4096, budget: 2 ** 26 }, {
      // No time at all, so that memory alone decides.
      measure: async (...args) => ({ ...await byTheLaws(...args), milliseconds: 0 }),
    });
    const skipped = points.filter(({ kind }) => kind === "skipped");
    // 4096 tokens take 2 * 4 * 2 * 4096² bytes for scores and weights, 2048 a quarter of that.
    assertEquals(skipped.map(({ way, tokens }) => [way, tokens]), [
      ["formula", 2048],
      ["formula", 4096],
    ]);
    const [, longest] = skipped;
    assert(longest?.kind === "skipped");
    assertEquals(longest.note, "would take about 264 MiB");
    const least = await pointsOf({ longest: 1024, budget: 1 }, { measure: byTheLaws });
    assertEquals(least.map(({ kind }) => kind), new Array(6).fill("measured"));
  });

  it("leaves out what would take too long", async () => {
    const points = await pointsOf({ longest: 2048 }, {
      measure: async (...args) => ({ ...await byTheLaws(...args), milliseconds: 500 }),
    });
    const last = points.slice(-2).map((point) => point.kind === "skipped" && point.note);
    assertEquals(last, new Array(2).fill("would take about 2 s"));
  });

  it("notes what the device's limits refuse, and goes on with the other way", async () => {
    // Scores of two heads fit at 256 tokens, and not at 512.
    const limits = { maxStorageBufferBindingSize: 2 ** 20, maxBufferSize: 2 ** 20 };
    using small = await requestDevice({ tune: false, limits });
    const points = await pointsOf({ longest: 1024 }, {}, small);
    assertEquals(points.map(({ kind, way }) => [kind, way]), [
      ["measured", "memory-efficient"],
      ["measured", "formula"],
      ["measured", "memory-efficient"],
      ["refused", "formula"],
      ["measured", "memory-efficient"],
      ["refused", "formula"],
    ]);
    const refused = points[3]!;
    assert(refused.kind === "refused");
    assertStringIncludes(refused.message!, "maxStorageBufferBindingSize");
  });

  it("notes that memory ran out, and tries no longer length", async () => {
    const tried: number[] = [];
    const points = await pointsOf({ longest: 1024 }, {
      measure: async (on, work) => {
        if (work.way === "formula") {
          tried.push(work.tokens);
          if (work.tokens === 512) throw new GpuOutOfMemoryError("no memory");
        }
        return await byTheLaws(on, work);
      },
    });
    assertEquals(tried, [256, 512]);
    const formula = points.filter(({ way }) => way === "formula").slice(1);
    assertEquals(
      formula,
      [512, 1024].map((tokens) => ({
        kind: "refused",
        way: "formula",
        tokens,
        note: "out of memory",
        message: "no memory",
      })),
    );
  });

  it("passes other errors on", async () => {
    const measure = () => Promise.reject(new TypeError("a mistake"));
    await assertRejects(() => pointsOf({}, { measure }), TypeError, "a mistake");
  });

  it("ends between two points when it is told to", async () => {
    const stop = new AbortController();
    const reason = new Error("stopped by the test");
    let seen = 0;
    const running = (async () => {
      const options = { signal: stop.signal, measure: byTheLaws };
      for await (const { kind } of sweep(device, SETTINGS, options)) {
        if (kind === "point" && ++seen === 3) stop.abort(reason);
      }
    })();
    assertEquals(await assertRejects(() => running), reason);
    assertEquals(seen, 3);
  });

  it("ends within a point too, and leaves no tensor behind", async () => {
    const stop = new AbortController();
    await assertNoLeak(device, async () => {
      const work = {
        way: "memory-efficient",
        tokens: 256,
        settings: { ...SETTINGS, isTraining: true },
        signal: stop.signal,
      } as const;
      const running = measurePoint(device, work);
      stop.abort(new Error("stopped by the test"));
      await assertRejects(() => running, Error, "stopped by the test");
    });
  });
});
