import { assertEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { hasDisplay, parseLabOptions } from "../../../notebooks/jupyter/lab_options.ts";
import { parseRunOptions } from "../../../notebooks/jupyter/run_options.ts";
import { UsageError } from "../../../notebooks/command_line.ts";

describe("parseLabOptions()", () => {
  it("takes its own options and leaves the others to JupyterLab", () => {
    const args = ["--port", "0", "--LabApp.x=1", "--no-browser", "-y"];
    assertEquals(parseLabOptions(args), {
      port: 0,
      noBrowser: true,
      args: ["--LabApp.x=1", "-y"],
      help: false,
    });
    assertEquals(parseLabOptions(["--port=8000", "--help"]), {
      port: 8000,
      noBrowser: false,
      args: [],
      help: true,
    });
  });

  it("throws on ports that are none", () => {
    for (const port of ["", "x", "-1", "65536", "1.5"]) {
      assertThrows(() => parseLabOptions([`--port=${port}`]), UsageError, `--port is "${port}"`);
    }
    assertThrows(() => parseLabOptions(["--port"]), UsageError, '--port is ""');
  });
});

describe("hasDisplay()", () => {
  it("asks the environment on systems that may be without a screen", () => {
    assertEquals(hasDisplay("linux", {}), false);
    assertEquals(hasDisplay("linux", { DISPLAY: "" }), false);
    assertEquals(hasDisplay("linux", { DISPLAY: ":0" }), true);
    assertEquals(hasDisplay("linux", { WAYLAND_DISPLAY: "wayland-0" }), true);
    assertEquals(hasDisplay("darwin", {}), true);
  });
});

describe("parseRunOptions()", () => {
  it("takes all notebooks and its own defaults without arguments", () => {
    assertEquals(parseRunOptions([]), {
      notebooks: [],
      size: undefined,
      out: undefined,
      cellSeconds: 300,
      help: false,
    });
  });

  it("takes what is given", () => {
    const args = ["--size", "large", "--timeout=5", "a.ipynb", "--out", "x", "b.ipynb"];
    assertEquals(parseRunOptions(args), {
      notebooks: ["a.ipynb", "b.ipynb"],
      size: "large",
      out: "x",
      cellSeconds: 5,
      help: false,
    });
  });

  it("throws on what it cannot do", () => {
    const wrong: [string, string][] = [
      ["--size=medium", '--size is "medium"'],
      ["--timeout=0", '--timeout is "0"'],
      ["--timeout=1.5", '--timeout is "1.5"'],
      ["--out=", '--out is ""'],
      ["--inplace", "--inplace"],
    ];
    for (const [arg, text] of wrong) {
      assertThrows(() => parseRunOptions([arg]), UsageError, text);
    }
  });
});
