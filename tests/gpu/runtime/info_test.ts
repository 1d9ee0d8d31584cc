import { assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { adapterName, browserName, vendorName } from "../../../gpu/runtime/info.ts";

describe("vendorName()", () => {
  it("knows vendors by number and leaves names alone", () => {
    assertEquals(vendorName("4318"), "NVIDIA");
    assertEquals(vendorName("0x10005"), "Mesa");
    assertEquals(vendorName("apple"), "apple");
    assertEquals(vendorName(""), "");
  });
});

describe("adapterName()", () => {
  it("is the description, else the device, else maker and architecture", () => {
    const told = { description: "NVIDIA H100", device: "2330", vendor: "4318", architecture: "" };
    const name = (info: Partial<typeof told>) =>
      adapterName({ ...told, ...info } as GPUAdapterInfo);
    assertEquals(name({}), "NVIDIA H100");
    assertEquals(name({ description: "" }), "2330");
    assertEquals(name({ description: "", device: "" }), "NVIDIA");
    const browser = { description: "", device: "", vendor: "apple", architecture: "metal-3" };
    assertEquals(name(browser), "apple metal-3");
    assertEquals(name({ ...browser, vendor: "", architecture: "" }), "unnamed adapter");
  });
});

describe("browserName()", () => {
  const webKit = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko)";

  it("tells browsers apart that name each other", () => {
    assertEquals(browserName(`${webKit} Chrome/156.0.0.0 Safari/537.36`), "Chrome 156");
    assertEquals(browserName(`${webKit} HeadlessChrome/156.0.0.0 Safari/537.36`), "Chrome 156");
    assertEquals(browserName(`${webKit} Chrome/156.0.0.0 Safari/537.36 Edg/156.0.0.0`), "Edge 156");
    assertEquals(browserName(`${webKit} Version/26.0 Safari/605.1.15`), "Safari 26.0");
    assertEquals(
      browserName("Mozilla/5.0 (X11; Linux x86_64; rv:150.0) Gecko/20100101 Firefox/150.0"),
      "Firefox 150",
    );
  });

  it("leaves other text alone", () => assertEquals(browserName("Servo"), "Servo"));
});
