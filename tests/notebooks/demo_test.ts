import { assert, assertEquals, assertLess, assertStringIncludes, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { requestDevice } from "@denoformers/attention";
import {
  type Comparison,
  type DemoResult,
  measureDemo,
  type Measurement,
} from "../../notebooks/demo/measure.ts";
import { UsageError } from "../../notebooks/command_line.ts";
import { parseOptions, USAGE } from "../../notebooks/demo/options.ts";
import { formatReport } from "../../notebooks/demo/report.ts";

const DEFAULTS = {
  batch: 3,
  tokens: 196,
  dim: 768,
  heads: 8,
  dtype: "f32",
  ownSizes: false,
  json: false,
  help: false,
} as const;

describe("parseOptions()", () => {
  it("takes the sizes of a vision transformer by default", () => {
    assertEquals(parseOptions([]), DEFAULTS);
  });

  it("takes sizes and flags", () => {
    assertEquals(
      parseOptions(["--batch", "1", "--tokens=16", "--dim", "32", "--heads=2", "--json"]),
      { ...DEFAULTS, batch: 1, tokens: 16, dim: 32, heads: 2, ownSizes: true, json: true },
    );
    assertEquals(parseOptions(["-h", "--dtype", "f32"]), { ...DEFAULTS, help: true });
  });

  it("throws on what it does not know", () => {
    for (
      const [args, message] of [
        [["--bogus"], "--bogus"],
        [["more"], "more"],
        [["--json=1"], "--json"],
        [["--tokens"], "--tokens"],
      ] as const
    ) {
      const error = assertThrows(() => parseOptions(args), UsageError, message);
      assert(!error.message.includes("\n"), error.message);
    }
  });

  it("throws on sizes that cannot be", () => {
    for (const text of ["0", "1.5", "abc", "", "1e3", "99999999999999999999"]) {
      assertThrows(
        () => parseOptions(["--tokens", text]),
        UsageError,
        `--tokens is "${text}", expected a whole number >= 1`,
      );
    }
    assertThrows(() => parseOptions(["--tokens=-5"]), UsageError, "whole number");
    assertThrows(
      () => parseOptions(["--heads", "7"]),
      UsageError,
      "--heads is 7, expected a divisor of --dim 768",
    );
    assertThrows(
      () => parseOptions(["--heads", "1"]),
      UsageError,
      "--dim 768 over --heads 1 is a head dim of 768, expected at most 512",
    );
  });

  it("throws on other element types, and says which the library has", () => {
    assertThrows(
      () => parseOptions(["--dtype", "f16"]),
      UsageError,
      "the demo does not, expected f32",
    );
    assertThrows(() => parseOptions(["--dtype", "f64"]), UsageError, '--dtype is "f64"');
  });
});

function measurement(medianMs: number, peakBytes: number): Measurement {
  return { firstCallMs: 10 * medianMs, medianMs, runs: 3, peakBytes };
}

const COMPARISON: Comparison = {
  memoryEfficient: measurement(12.345, 1_806_336),
  math: measurement(123.45, 9_182_208),
  maxAbsDifference: 1.2e-7,
};

const REFUSED: Comparison = {
  memoryEfficient: measurement(1234.5, 512),
  math: { refused: "scores are too large" },
  maxAbsDifference: null,
};

const RESULT: DemoResult = {
  device: {
    adapter: "Test GPU",
    vendor: "Maker",
    architecture: "",
    isFallback: false,
    runtime: "Deno 2.9.6",
    subgroupSize: 32,
    f16: true,
    timestamps: true,
    limits: {
      maxBufferSize: 2 ** 31,
      maxStorageBufferBindingSize: 2 ** 27,
      maxStorageBuffersPerShaderStage: 8,
      maxComputeWorkgroupStorageSize: 16384,
      maxComputeInvocationsPerWorkgroup: 256,
      maxComputeWorkgroupsPerDimension: 65535,
    },
  },
  clock: "gpu",
  dtype: "f32",
  layer: {
    shape: { batch: 1, tokens: 2, heads: 1, headDim: 2 },
    dim: 2,
    output: "tensor([[[1., 2.],\n         [3., 4.]]])",
    attention: COMPARISON,
    layer: COMPARISON,
  },
  long: null,
  memory: null,
};

describe("formatReport()", () => {
  it("lays out the device, the result and the comparison", () => {
    assertEquals(
      formatReport(RESULT),
      `\
Device
  adapter         Test GPU
  vendor          Maker
  runtime         Deno 2.9.6
  subgroup size   32
  f16 in kernels  yes
  largest binding 128 MiB

Self-attention, f32: 1 sequence of 2 tokens
  x [1, 2, 2] -> LayerNorm(2) -> Attention(2, 1 head of 2) -> y [1, 2, 2]

tensor([[[1., 2.],
         [3., 4.]]])

The same with all scores in memory ("math")
                                        memory-efficient              math
  attention, median time on the GPU              12.3 ms            123 ms
  attention, first call                           123 ms            1.23 s
  attention, peak memory                        1.72 MiB          8.76 MiB
  layer, median time on the GPU                  12.3 ms            123 ms
  layer, peak memory                            1.72 MiB          8.76 MiB
  largest difference of the results               1.2e-7
`,
    );
  });

  it("adds the longer sequence and the memory of a larger one", () => {
    const shape = { batch: 1, tokens: 2048, heads: 8, headDim: 64 };
    const text = formatReport({
      ...RESULT,
      long: { shape, reducedFrom: null, attention: REFUSED },
      memory: {
        shape,
        reducedFrom: { ...shape, tokens: 4096 },
        inputBytes: 12 * 2 ** 20,
        outputBytes: 4 * 2 ** 20,
        peakBytes: 16 * 2 ** 20 + 256,
        scoresBytes: 2 ** 28,
        mathRefused: "scores are too large",
      },
    });
    assertStringIncludes(
      text,
      `
Attention alone: query, key, value [1, 2048, 8, 64] (batch, tokens, heads, head dim)
                                        memory-efficient              math
  attention, median time on the GPU               1.23 s                 -
  attention, first call                           12.3 s                 -
  attention, peak memory                           512 B                 -
  math does not run here: scores are too large

Memory at [1, 2048, 8, 64]
  (smaller than [1, 4096, 8, 64]: this device is slow or does not fit it)
  memory-efficient  peak 16.0 MiB = inputs 12.0 MiB + output 4.00 MiB + 256 B
  math              would take 256 MiB more, for scores and weights; it does not run here:
    scores are too large
`,
    );
  });

  it("says so where the device cannot tell time, and what else it lacks", () => {
    const device = { ...RESULT.device, subgroupSize: 0, f16: false, isFallback: true };
    const text = formatReport({ ...RESULT, device, clock: "wall" });
    assertStringIncludes(text, "attention, median time to result");
    assertStringIncludes(text, "\nThis device cannot time its kernels");
    assertStringIncludes(text, "Test GPU, computes on the CPU\n");
    assertStringIncludes(text, "no subgroups\n");
    assertStringIncludes(text, "f16 in kernels  no\n");
  });
});

async function runDemo(args: string[], env: Record<string, string> = {}) {
  const program = decodeURIComponent(new URL("../../notebooks/demo.ts", import.meta.url).pathname);
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--quiet", program, ...args],
    env: { ...env, NO_COLOR: "1" },
  }).output();
  const decoder = new TextDecoder();
  return { code, stdout: decoder.decode(stdout), stderr: decoder.decode(stderr) };
}

describe("demo.ts", () => {
  it("computes the same in both ways, with less memory in one", async () => {
    const sizes = ["--tokens", "16", "--dim", "32", "--heads", "2", "--batch", "1"];
    const { code, stdout, stderr } = await runDemo([...sizes, "--json"]);
    assertEquals(code, 0, stderr);
    const result: DemoResult = JSON.parse(stdout);
    assertEquals(result.layer.shape, { batch: 1, tokens: 16, heads: 2, headDim: 16 });
    assertEquals([result.dtype, result.long, result.memory], ["f32", null, null]);
    assertStringIncludes(result.layer.output, "tensor([[[");
    for (const { memoryEfficient, math, maxAbsDifference } of comparisons(result)) {
      assert(!("refused" in math));
      assert(maxAbsDifference !== null);
      assertLess(maxAbsDifference, 1e-5);
      assertLess(memoryEfficient.peakBytes, math.peakBytes);
      assertLess(0, memoryEfficient.firstCallMs);
      assertLess(0, memoryEfficient.runs);
    }
  });

  it("prints usage: on request, and with exit code 2 for what it does not know", async () => {
    assertEquals(await runDemo(["--help"]), { code: 0, stdout: USAGE, stderr: "" });
    const { code, stdout, stderr } = await runDemo(["--bogus"]);
    assertEquals([code, stdout], [2, ""]);
    assertStringIncludes(stderr, "--bogus");
    assertStringIncludes(stderr, USAGE);
  });

  it("prints an error without a stack if the input does not fit, with exit code 1", async () => {
    const { code, stdout, stderr } = await runDemo(["--tokens", "99999999"]);
    assertEquals([code, stdout], [1, ""]);
    assertStringIncludes(stderr, "Cannot allocate");
    assert(!stderr.includes("    at "), stderr);
  });

  it("says what to install if there is no adapter, with exit code 1", async () => {
    // A graphics interface of another system, where no adapter can be found.
    const backend = Deno.build.os === "windows" ? "metal" : "dx12";
    const { code, stdout, stderr } = await runDemo([], { DENO_WEBGPU_BACKEND: backend });
    assertEquals([code, stdout], [1, ""]);
    assertStringIncludes(stderr, "No GPU is available");
    assert(!stderr.includes("    at "), stderr);
  });
});

describe("measureDemo()", () => {
  it("computes memory-efficient attention where the formula does not fit", async () => {
    using device = await requestDevice({
      tune: false,
      limits: { maxStorageBufferBindingSize: 2 ** 17 },
    });
    const options = parseOptions(["--batch=1", "--tokens=256", "--dim=8", "--heads=1"]);
    const steps: string[] = [];
    const result = await measureDemo(device, options, (step) => steps.push(step));
    for (const { math, maxAbsDifference } of comparisons(result)) {
      assert("refused" in math);
      assertStringIncludes(math.refused, "maxStorageBufferBindingSize");
      assertEquals(maxAbsDifference, null);
    }
    assertEquals(steps.at(-1), "The whole layer, memory-efficient");
  });
});

function comparisons({ layer }: DemoResult): Comparison[] {
  return [layer.attention, layer.layer];
}
