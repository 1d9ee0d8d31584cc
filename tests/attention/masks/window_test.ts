/** The rule by which masks hide keys: against its formula, and in WGSL against the host's. */
import { assert, assertEquals, assertGreaterOrEqual } from "@std/assert";
import { it } from "@std/testing/bdd";
import {
  VISIBLE_KEYS,
  visibleKeys,
  type Window,
  WINDOW_FIELDS,
  windowParams,
} from "../../../attention/masks/window.ts";
import { runtimeOf } from "../../../gpu/device.ts";
import type { Kernel } from "../../../gpu/runtime/kernels.ts";
import { paramStruct } from "../../../gpu/runtime/params.ts";
import { sharedDevice } from "../../_device.ts";

const LENGTHS = [0, 1, 2, 5, 9];
const REACHES = [0, 1, 3, 8, Infinity];

const WINDOWS: Window[] = (["top-left", "bottom-right"] as const).flatMap((alignment) =>
  REACHES.flatMap((left) => REACHES.map((right) => ({ alignment, left, right })))
);

it("visibleKeys() is the run of keys that its formula allows", () => {
  for (const window of WINDOWS) {
    for (const queries of LENGTHS) {
      for (const keys of LENGTHS) {
        const shift = window.alignment === "top-left" ? 0 : keys - queries;
        for (let i = 0; i < queries; i++) {
          const [begin, end] = visibleKeys(window, i, queries, keys);
          const allowed = (j: number) =>
            i + shift - window.left <= j && j <= i + shift + window.right;
          for (let j = 0; j < keys; j++) assertEquals(begin <= j && j < end, allowed(j));
          assert(begin >= 0 && end <= keys);
        }
      }
    }
  }
});

it("visibleKeys() has bounds that never fall from one query to the next", () => {
  for (const window of WINDOWS) {
    for (const keys of LENGTHS) {
      let [begin, end] = [0, 0];
      for (let i = 0; i < 9; i++) {
        const range = visibleKeys(window, i, 9, keys);
        assertGreaterOrEqual(range[0], begin);
        assertGreaterOrEqual(range[1], end);
        [begin, end] = range;
      }
    }
  }
});

it("VISIBLE_KEYS gives in a kernel what visibleKeys() gives", async () => {
  const runtime = runtimeOf(await sharedDevice());
  const params = paramStruct({ queries: "u32", keys: "u32", ...WINDOW_FIELDS });
  const kernel: Kernel = {
    label: "visible_keys",
    bindings: ["write"],
    source: params.wgsl + VISIBLE_KEYS + /* wgsl */ `
@group(0) @binding(0) var<storage, read_write> out: array<vec2u>;

@compute @workgroup_size(16)
fn main(@builtin(global_invocation_id) id: vec3u) {
  if (id.x < params.queries) { out[id.x] = visible_keys(id.x, params.queries, params.keys); }
}
`,
  };
  const queries = 9;
  for (const window of WINDOWS) {
    for (const keys of LENGTHS) {
      const out = runtime.memory.acquire(8 * queries, "a test");
      runtime.kernels.dispatch(kernel, {
        storages: [out],
        params: params.pack({ queries, keys, ...windowParams(window) }),
        workgroups: 1,
      });
      const found = new Uint32Array(await runtime.download(out, 8 * queries));
      out.release();
      const ranges = Array.from(
        { length: queries },
        (_, i) => visibleKeys(window, i, queries, keys),
      );
      assertEquals([...found], ranges.flat(), `${JSON.stringify(window)}, ${keys} keys`);
    }
  }
});
