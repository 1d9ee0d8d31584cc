/** The reader of WGSL that the tests of small devices rely on, on modules whose sums are done by hand. */
import { assertEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { resourcesOf } from "./_wgsl.ts";

const MAIN = "@compute @workgroup_size(THREADS) fn main() {}\nconst THREADS = 64u;\n";

describe("resourcesOf()", () => {
  it("adds up workgroup memory by the specification's sizes and alignments", () => {
    const cases: [source: string, bytes: number][] = [
      ["", 0],
      ["var<workgroup> a: f32;", 4],
      ["var<workgroup> a: array<u32, THREADS>;", 256],
      ["const N = 2u * (THREADS + 1u) - 3u;\nvar<workgroup> a: array<f32, N>;", 4 * 127],
      ["const N = THREADS / 3u % 4u;\nvar<workgroup> a: array<f32, N>;", 4],
      ["var<workgroup> a: array<array<vec4f, 3>, 5>;", 240],
      ["var<workgroup> a: array<array<vec4<f16>, 3u>, 5>;", 120],
      ["var<workgroup> a: array<vec3u, 5>;", 80],
      ["var<workgroup> a: f32;\nvar<workgroup> b: vec4f;", 32],
      ["alias Four = vec4<u32>;\nvar<workgroup> a: array<Four, 2>;", 32],
      ["struct Chunk { a: vec2<f32>, b: u32 }\nvar<workgroup> a: array<Chunk, 2>;", 32],
      ["// var<workgroup> a: f32;\n/* var<workgroup> b: f32; */", 0],
    ];
    for (const [source, bytes] of cases) {
      assertEquals(resourcesOf(source + "\n" + MAIN).workgroupBytes, bytes, source);
    }
  });

  it("counts storage buffers and threads", () => {
    const source = `
@group(0) @binding(0) var<storage, read> a: array<u32>;
@group(0) @binding(1) var<storage, read_write> b: array<u32>;
@group(1) @binding(0) var<uniform> params: Params;
@compute @workgroup_size(8, 4u)
fn main() {}`;
    assertEquals(resourcesOf(source), { workgroupBytes: 0, storageBuffers: 2, threads: 32 });
  });

  it("throws at what it does not know, and never counts it as nothing", () => {
    const broken: [source: string, message: string][] = [
      ["var<workgroup> a: array<mat2x2f, 2>;", "the type mat2x2f is not known"],
      ["var<workgroup> a: array<f32, max(2, 3)>;", "is not known"],
      ["var<workgroup> a: array<f32, MISSING>;", "the size MISSING is not known"],
      ["var< workgroup > a: f32;", "in a way that is not known"],
    ];
    for (const [source, message] of broken) {
      assertThrows(() => resourcesOf(source + "\n" + MAIN), Error, message);
    }
    assertThrows(() => resourcesOf("fn main() {}"), Error, "it has 0 entry points");
  });
});
