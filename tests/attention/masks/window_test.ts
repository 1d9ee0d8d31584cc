/** The rule by which masks hide keys: against its formula, and in WGSL against the host's. */
import { assert, assertEquals, assertGreaterOrEqual } from "@std/assert";
import { it } from "@std/testing/bdd";
import {
  VISIBLE_KEYS,
  VISIBLE_QUERIES,
  visibleKeys,
  visibleQueries,
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

it("visibleQueries() is the run of queries by which visibleKeys() names a key", () => {
  for (const window of WINDOWS) {
    for (const queries of LENGTHS) {
      for (const keys of LENGTHS) {
        for (let j = -2; j < keys + 2; j++) {
          const [begin, end] = visibleQueries(window, j, queries, keys);
          for (let i = 0; i < queries; i++) {
            const [first, last] = visibleKeys(window, i, queries, keys);
            assertEquals(begin <= i && i < end, first <= j && j < last);
          }
          assert(0 <= begin && begin <= end && end <= queries);
        }
      }
    }
  }
});

it("visibleQueries() has bounds that never fall from one key to the next", () => {
  for (const window of WINDOWS) {
    for (const queries of LENGTHS) {
      let [begin, end] = [0, 0];
      for (let j = 0; j < 9; j++) {
        const range = visibleQueries(window, j, queries, 9);
        assertGreaterOrEqual(range[0], begin);
        assertGreaterOrEqual(range[1], end);
        [begin, end] = range;
      }
    }
  }
});

for (
  const [name, wgsl, onHost] of [
    ["visible_keys", VISIBLE_KEYS, visibleKeys],
    ["visible_queries", VISIBLE_QUERIES, visibleQueries],
  ] as const
) {
  it(`${name}() in a kernel gives what ${onHost.name}() gives`, async () => {
    const runtime = runtimeOf(await sharedDevice());
    const params = paramStruct({ queries: "u32", keys: "u32", ...WINDOW_FIELDS });
    const count = name === "visible_keys" ? "queries" : "keys";
    const kernel: Kernel = {
      label: name,
      bindings: ["write"],
      source: params.wgsl + wgsl + /* wgsl */ `
@group(0) @binding(0) var<storage, read_write> out: array<vec2u>;

@compute @workgroup_size(16)
fn main(@builtin(global_invocation_id) id: vec3u) {
  if (id.x < params.${count}) { out[id.x] = ${name}(id.x, params.queries, params.keys); }
}
`,
    };
    const most = 9;
    for (const window of WINDOWS) {
      for (const length of LENGTHS) {
        const sizes = { queries: length, keys: length, [count]: most };
        const out = runtime.memory.acquire(8 * most, "a test");
        runtime.kernels.dispatch(kernel, {
          storages: [out],
          params: params.pack({ ...sizes, ...windowParams(window) }),
          workgroups: 1,
        });
        const found = new Uint32Array(await runtime.download(out, 8 * most));
        out.release();
        const ranges = Array.from(
          { length: most },
          (_, at) => onHost(window, at, sizes.queries, sizes.keys),
        );
        assertEquals([...found], ranges.flat(), `${JSON.stringify(window)}, ${length}`);
      }
    }
  });
}
