import type { DeviceInfo } from "../../../gpu/runtime/info.ts";
import { denoHost, type Host, tuningKey, tuningPath } from "../../../gpu/tuning/place.ts";
import { LIBRARY_VERSION } from "../../../gpu/tuning/version.ts";
import { assert, assertEquals, assertNotEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { sharedDevice } from "../../_device.ts";

function host(os: string, variables: Readonly<Record<string, string>>): Host {
  return { os, env: (name) => variables[name], files: denoHost()!.files };
}

describe("tuningPath()", () => {
  it("is in the user's folder for caches", () => {
    const cases: [Host, string | undefined][] = [
      [host("linux", { HOME: "/home/me" }), "/home/me/.cache/denoformers/tuning.json"],
      [host("linux", { HOME: "/home/me", XDG_CACHE_HOME: "/x" }), "/x/denoformers/tuning.json"],
      [host("linux", { HOME: "/h", XDG_CACHE_HOME: "x" }), "/h/.cache/denoformers/tuning.json"],
      [host("freebsd", { HOME: "/h" }), "/h/.cache/denoformers/tuning.json"],
      [host("darwin", { HOME: "/Users/me" }), "/Users/me/Library/Caches/denoformers/tuning.json"],
      [host("windows", { LOCALAPPDATA: "C:\\L", HOME: "/h" }), "C:\\L/denoformers/tuning.json"],
      [host("linux", {}), undefined],
      [host("darwin", {}), undefined],
      [host("windows", { HOME: "/h" }), undefined],
    ];
    for (const [host, path] of cases) assertEquals(tuningPath(host, undefined), path);
  });

  it("is what the environment says, or the caller, who comes first", () => {
    const set = host("linux", { HOME: "/h", DENOFORMERS_TUNING_CACHE: "/mine.json" });
    assertEquals(tuningPath(set, undefined), "/mine.json");
    assertEquals(tuningPath(set, "here.json"), "here.json");
    const none = host("linux", { HOME: "/h", DENOFORMERS_TUNING_CACHE: "" });
    assertEquals(tuningPath(none, undefined), undefined);
  });
});

describe("tuningPath() of odd variables", () => {
  it("takes absolute paths alone, so that no folder comes into being where a program is run", () => {
    const of = (os: string, text: string) =>
      tuningPath(host(os, { HOME: "/h", DENOFORMERS_TUNING_CACHE: text }), undefined);
    const odd = [
      "~/a.json",
      "a.json",
      "./a",
      "..",
      "file:///a",
      "https://a/b",
      "\n/a",
      " /a",
      "C:a",
    ];
    for (const text of odd) {
      for (const os of ["linux", "windows"]) assertEquals(of(os, text), undefined);
    }
    for (const text of ["C:\\a.json", "c:/a.json", "\\\\server\\a.json", "/a.json"]) {
      assertEquals(of("windows", text), text);
    }
    assertEquals(of("linux", "C:\\a.json"), undefined);
    assertEquals(of("linux", "/a b/\u00e4.json"), "/a b/\u00e4.json");
  });
});

describe("tuningKey()", () => {
  it("tells adapters, drivers, features and versions apart", async () => {
    const { info } = await sharedDevice();
    const key = tuningKey(info, "");
    assert(key.includes(info.adapter) && key.includes(info.runtime), key);
    assert(key.endsWith(`denoformers ${LIBRARY_VERSION}`), key);
    const others: DeviceInfo[] = [
      { ...info, adapter: "another" },
      { ...info, vendor: "another" },
      { ...info, architecture: "another" },
      { ...info, runtime: "Deno 2.9.99" },
      { ...info, subgroupSize: 3 },
      { ...info, f16: !info.f16 },
    ];
    for (const other of others) assertNotEquals(tuningKey(other, ""), key);
    assertNotEquals(tuningKey(info, "driver 580"), key);
    assertEquals(tuningKey({ ...info, limits: { ...info.limits } }, ""), key);
  });
});

describe("LIBRARY_VERSION", () => {
  it("is the version in deno.json", async () => {
    const manifest = await Deno.readTextFile(new URL("../../../deno.json", import.meta.url));
    assertEquals(LIBRARY_VERSION, JSON.parse(manifest).version);
  });
});
