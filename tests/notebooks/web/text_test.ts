import { assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { formatBytes, formatDuration, formatTokens } from "../../../notebooks/web/text.ts";

describe("numbers on the page", () => {
  it("are bytes in the unit that leaves at least one before the point", () => {
    const texts = [0, 1, 1023, 1024, 1536, 2 ** 20, 5 * 2 ** 30, 2 ** 41].map(formatBytes);
    assertEquals(
      texts,
      ["0 B", "1 B", "1020 B", "1 KiB", "1.5 KiB", "1 MiB", "5 GiB", "2 TiB"],
    );
    // There is no larger unit.
    assertEquals(formatBytes(2 ** 52), "4100 TiB");
  });

  it("are tokens in units of 1024 where these are whole, else as they are", () => {
    assertEquals([256, 1000, 1024, 2000, 131_072, 2 ** 20].map(formatTokens), [
      "256",
      "1000",
      "1k",
      "2000",
      "128k",
      "1M",
    ]);
  });

  it("are times in the unit that leaves at least one before the point, or in milliseconds", () => {
    const times = [0.0512, 1, 1.2345, 999, 1000, 65_000, 600_000, 36e5, 2.5 * 864e5];
    assertEquals(times.map(formatDuration), [
      "0.0512 ms",
      "1 ms",
      "1.23 ms",
      "999 ms",
      "1 s",
      "1.08 min",
      "10 min",
      "1 h",
      "2.5 days",
    ]);
  });
});
