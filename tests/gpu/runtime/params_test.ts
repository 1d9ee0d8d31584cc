import { runtimeOf } from "../../../gpu/device.ts";
import { paramStruct } from "../../../gpu/runtime/params.ts";
import { assertEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { sharedDevice } from "../../_device.ts";

const AXES_A = [1, 2, 3, 4, 5, 6, 7, 8];
const AXES_B = [11, 12, 13, 14, 15, 16, 17, 18];

describe("paramStruct()", () => {
  it("declares the fields in order", () => {
    const { wgsl } = paramStruct({ rows: "u32", scale: "f32", shape: "axes" });
    assertEquals(
      wgsl,
      "struct Params {\n  rows: u32,\n  scale: f32,\n  shape: array<vec4u, 2>,\n}\n" +
        "@group(1) @binding(0) var<uniform> params: Params;\n",
    );
  });

  it("packs scalars one after the other and axes from the next multiple of 16 bytes", () => {
    const { pack } = paramStruct({ rows: "u32", scale: "f32", shape: "axes", strides: "axes" });
    const words = pack({ rows: 7, scale: 0.5, shape: AXES_A, strides: AXES_B });
    assertEquals([...words], [7, 0x3f000000, 0, 0, ...AXES_A, ...AXES_B]);
  });

  it("leaves no gap behind four scalars", () => {
    const { pack } = paramStruct({ a: "u32", b: "u32", c: "u32", d: "u32", shape: "axes" });
    assertEquals([...pack({ a: 1, b: 2, c: 3, d: 4, shape: AXES_A })], [1, 2, 3, 4, ...AXES_A]);
  });

  it("rounds a struct without axes up to 16 bytes, as uniform buffers want", () => {
    assertEquals(paramStruct({ a: "u32" }).pack({ a: 1 }).byteLength, 16);
    const five = paramStruct({ a: "u32", b: "u32", c: "u32", d: "u32", e: "u32" });
    assertEquals(five.pack({ a: 1, b: 2, c: 3, d: 4, e: 5 }).byteLength, 32);
  });

  it("throws for a scalar behind axes", () => {
    assertThrows(
      () => paramStruct({ shape: "axes", rows: "u32" }),
      Error,
      "scalars must come before axes",
    );
  });

  it("has the layout that a shader sees", async () => {
    const runtime = runtimeOf(await sharedDevice());
    for (const scalars of [1, 3, 4, 5]) {
      const names = Array.from({ length: scalars }, (_, i) => `scalar_${i}`);
      const fields = Object.fromEntries(names.map((name) => [name, "u32" as const]));
      const params = paramStruct({ ...fields, shape: "axes", strides: "axes" });
      const words = scalars + 16;
      const storage = runtime.memory.acquire(4 * words, "a test");
      runtime.kernels.dispatch({
        label: "read_params",
        bindings: ["write"],
        source: `${params.wgsl}
@group(0) @binding(0) var<storage, read_write> out: array<u32>;
@compute @workgroup_size(1) fn main() {
  ${names.map((name, i) => `out[${i}] = params.${name};`).join("\n  ")}
  for (var i = 0u; i < 8u; i++) {
    out[${scalars}u + i] = params.shape[i / 4u][i % 4u];
    out[${scalars + 8}u + i] = params.strides[i / 4u][i % 4u];
  }
}`,
      }, {
        storages: [storage],
        params: params.pack({
          ...Object.fromEntries(names.map((name, i) => [name, 100 + i])),
          shape: AXES_A,
          strides: AXES_B,
        }),
        workgroups: 1,
      });
      const seen = [...new Uint32Array(await runtime.download(storage, 4 * words))];
      storage.release();
      assertEquals(seen, [...names.map((_, i) => 100 + i), ...AXES_A, ...AXES_B]);
    }
  });
});
