import { DeviceLostError, GpuOutOfMemoryError, GpuUnavailableError } from "@denoformers/attention";
import { assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import {
  COLUMNS,
  describeSettings,
  deviceFacts,
  errorText,
  exponentRows,
  pointRows,
  refusalTexts,
} from "../../../notebooks/web/report.ts";
import { sharedDevice } from "../../_device.ts";
import { measuredPoint, SETTINGS } from "./_points.ts";

describe("the page's texts", () => {
  it("have a row for each point", () => {
    const rows = pointRows([
      measuredPoint("memory-efficient", 1024),
      { ...measuredPoint("formula", 300), isRight: false, error: 0.5 },
      { kind: "refused", way: "formula", tokens: 2048, note: "out of memory" },
    ]);
    assertEquals(rows, [
      ["1k", "memory-efficient", "2 MiB", "1.05 ms", "1.0e-6", "rows agree with float64"],
      ["300", "formula", "1.96 MiB", "0.09 ms", "5.0e-1", "WRONG ROWS"],
      ["2k", "formula", "–", "–", "–", "out of memory"],
    ]);
    for (const row of rows) assertEquals(row.length, COLUMNS.length);
  });

  it("give the error of the first length that a way was refused", () => {
    const refused = {
      kind: "refused",
      way: "formula",
      note: "out of memory",
      message: "the text",
    } as const;
    const points = [
      measuredPoint("formula", 1024),
      { ...refused, tokens: 2048 },
      { ...refused, tokens: 4096 },
      {
        kind: "skipped",
        way: "memory-efficient",
        tokens: 4096,
        note: "would take about 2 s",
      } as const,
    ];
    assertEquals(refusalTexts(points), ["formula, N = 2k: the text"]);
  });

  it("have exponents where there are three lengths", () => {
    const lengths = [256, 512, 1024];
    const points = lengths.map((tokens) => measuredPoint("formula", tokens));
    points.push(measuredPoint("memory-efficient", 256));
    assertEquals(exponentRows(points, SETTINGS), [["formula", "N^2.00", "N^2.00"]]);
  });

  it("say what is measured", () => {
    assertEquals(
      describeSettings({ ...SETTINGS, isTraining: true, mask: "causal" }),
      "[1, N, 2, 64], f32, forward and backward, mask: causal",
    );
  });

  it("tell of the device", async () => {
    const { info } = await sharedDevice();
    const facts = new Map(deviceFacts(info));
    assertEquals(facts.get("adapter")!.startsWith(info.adapter), true);
    assertEquals(facts.get("browser"), info.runtime);
    const none = new Map(deviceFacts({
      ...info,
      vendor: "",
      architecture: "",
      isFallback: true,
      f16: false,
      subgroupSize: 0,
    }));
    assertEquals(none.get("adapter"), `${info.adapter}, computes on the CPU`);
    assertEquals(none.get("vendor"), "not told");
    assertEquals(none.get("f16 in kernels"), "no; f16 is unpacked to f32");
    assertEquals(none.get("subgroups"), "none");
  });
});

describe("errorText()", () => {
  it("names what happened, keeps the message, and says whether a new device may help", () => {
    const cases: [error: unknown, title: string, needsDevice: boolean][] = [
      [new GpuUnavailableError("the text"), "No usable GPU", true],
      [new DeviceLostError("the text"), "The GPU device was lost", true],
      [new GpuOutOfMemoryError("the text"), "Out of GPU memory", false],
      [new TypeError("the text"), "Unexpected: TypeError", false],
      ["the text", "Unexpected: Error", false],
    ];
    for (const [error, title, needsDevice] of cases) {
      const found = errorText(error);
      assertEquals([found.title, found.needsDevice], [title, needsDevice]);
      assertEquals(found.text.startsWith("the text"), true);
    }
    assertEquals(errorText(undefined).text, "undefined");
  });
});
