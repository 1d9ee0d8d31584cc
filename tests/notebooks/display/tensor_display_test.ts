import type { Tensor } from "@denoformers/attention";
import "@denoformers/attention/notebook";
import type { MimeBundle } from "../../../notebooks/display/kernel.ts";
import { sharedDevice } from "../../_device.ts";
import { type Displays, displaysOf, staticDisplaysOf } from "./_displays.ts";
import { assertEquals, assertStringIncludes } from "@std/assert";
import { describe, it } from "@std/testing/bdd";

/** What a cell shows whose last value this tensor is: the displays, then the value. */
async function shown(
  tensor: Tensor,
  displays: (show: () => unknown) => Promise<Displays> = displaysOf,
): Promise<{ value: MimeBundle; displays: Displays }> {
  const values: MimeBundle[] = [];
  const show = (tensor as unknown as Record<symbol, () => Promise<MimeBundle>>)[
    Symbol.for("Jupyter.display")
  ]!;
  const sent = await displays(async () => values.push(await show.call(tensor)));
  return { value: values[0]!, displays: sent };
}

describe("a tensor as a cell's last value", () => {
  it("shows as PyTorch prints it, a matrix with a picture", async () => {
    using tensor = (await sharedDevice()).tensor([[1, -2], [3, 4]], { dtype: "f16" });
    const { value, displays } = await shown(tensor);
    assertEquals(displays, []);
    assertEquals(value["text/plain"], await tensor.format());
    const html = String(value["text/html"]);
    assertStringIncludes(html, `<pre>${await tensor.format()}</pre>`);
    assertStringIncludes(html, '<img width="64" height="64"');
    assertStringIncludes(html, "-4 (blue) to 4 (red)");
  });

  it("has its picture in a display of its own where output is committed", async () => {
    using tensor = (await sharedDevice()).tensor([[1, 2], [3, 4]], { dtype: "i32" });
    const { value, displays: [picture] } = await shown(tensor, staticDisplaysOf);
    assertEquals(value, { "text/plain": await tensor.format() });
    assertEquals(Object.keys(picture!.data), ["image/png", "text/plain"]);
    assertEquals(picture!.data["text/plain"], "[picture: 1 (dark) to 4 (light)]");
    assertEquals(picture!.content.metadata, { "image/png": { width: 64, height: 64 } });
  });

  it("is text alone if it is no matrix", async () => {
    const device = await sharedDevice();
    for (const shape of [[], [3], [1, 3], [3, 1], [0, 2], [2, 2, 2]]) {
      using tensor = device.ones(shape);
      const { value, displays } = await shown(tensor);
      assertEquals([value, displays], [{ "text/plain": await tensor.format() }, []]);
    }
  });

  it("says so if it is disposed", async () => {
    const tensor = (await sharedDevice()).zeros([2, 2]);
    tensor.dispose();
    const { value } = await shown(tensor);
    assertEquals(value, { "text/plain": tensor.toString() });
    assertStringIncludes(tensor.toString(), "disposed");
  });
});
