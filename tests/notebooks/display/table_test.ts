import { table } from "../../../notebooks/display/table.ts";
import { displaysOf, printedBy } from "./_displays.ts";
import { assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { describe, it } from "@std/testing/bdd";

describe("table()", () => {
  it("has columns in the order of first appearance, numbers on the right, gaps for what is missing", async () => {
    const rows = [{ name: "a", n: 1 }, { name: "long", n: 1024, extra: null }, { late: "no f16" }];
    assertEquals(await printedBy(() => table(rows, { caption: "Sizes" })), [
      [
        "Sizes",
        "name     n  extra  late",
        "----  ----  -----  ------",
        "a        1",
        "long  1024",
        "                   no f16",
      ].join("\n"),
    ]);
  });

  it("gives numbers that are no integers four digits, and leaves others and texts as they are", async () => {
    const values = [
      3.14159,
      12345.678,
      1.23456e-7,
      0.000123456,
      0.5,
      123456789,
      -0.1,
      10n,
      NaN,
      "3.14159",
      true,
    ];
    const [printed] = await printedBy(() => table(values.map((value) => ({ value }))));
    assertEquals(
      printed!.split("\n").slice(2).map((line) => line.trim()),
      [
        "3.142",
        "12350",
        "1.235e-7",
        "1.235e-4",
        "0.5",
        "123456789",
        "-0.1",
        "10",
        "NaN",
        "3.14159",
        "true",
      ],
    );
  });

  it("gives as many digits as tell the numbers of a column apart", async () => {
    const rows = [[100000.25, 1.001], [100000.5, 1 / 3], [100000.75, 1.0010004], [null, NaN]];
    const [printed] = await printedBy(() => table(rows.map(([a, b]) => ({ a, b }))));
    assertEquals(printed!.split("\n").slice(2).map((line) => line.trim().split(/ +/)), [
      ["100000.25", "1.001"],
      ["100000.5", "0.3333"],
      ["100000.75", "1.0010004"],
      ["NaN"],
    ]);
  });

  it("is HTML and text, with everything escaped", async () => {
    const [message] = await displaysOf(() =>
      table([{ "<a>": "<script>", n: 1 }], { caption: "A & B" })
    );
    assertEquals(Object.keys(message!.data), ["text/html", "text/plain"]);
    assertEquals(
      message!.data["text/html"],
      '<table><caption style="text-align:left;white-space:nowrap">A &amp; B</caption>' +
        "<thead><tr>" +
        '<th style="text-align:left">&lt;a&gt;</th><th style="text-align:right">n</th>' +
        "</tr></thead><tbody><tr>" +
        '<td style="text-align:left">&lt;script&gt;</td><td style="text-align:right">1</td>' +
        "</tr></tbody></table>",
    );
  });

  it("says so if there are no rows", async () => {
    const [message] = await displaysOf(() => table([]));
    assertStringIncludes(message!.data["text/plain"]!, "no rows");
  });

  it("throws on what are no rows", async () => {
    const bad = (rows: unknown) => table(rows as never);
    await assertRejects(() => bad("a"), TypeError, 'rows is "a", expected an array of objects');
    await assertRejects(() => bad([{}, [1]]), TypeError, "rows[1] is an array, expected an object");
    await assertRejects(() => bad([null]), TypeError, "rows[0] is null, expected an object");
  });
});
