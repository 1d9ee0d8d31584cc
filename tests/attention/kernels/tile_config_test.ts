import { chooseTiles } from "../../../attention/kernels/tile_config.ts";
import { flashForwardWorkgroupBytes } from "../../../attention/kernels/flash_forward.ts";
import { assertEquals, assertLessOrEqual } from "@std/assert";
import { it } from "@std/testing/bdd";

it("chooseTiles() stays within WebGPU's default limits for every head dim and subgroup size", () => {
  for (const subgroupSize of [0, 4, 8, 16, 32, 64, 128]) {
    for (let dim = 1; dim <= 256; dim++) {
      const tiles = chooseTiles(dim, dim, subgroupSize);
      const bytes = flashForwardWorkgroupBytes({
        ...tiles,
        headDim: dim,
        valueDim: dim,
        aligned: { query: true, key: true, value: true },
        keyRange: "",
        bias: "none",
        lse: true,
      });
      assertLessOrEqual(bytes, 16_384);
      assertLessOrEqual(tiles.threads, 256);
      assertLessOrEqual(tiles.lanes, Math.max(1, subgroupSize));
      assertEquals(tiles.tile % 4, 0);
      assertEquals(tiles.threads % tiles.lanes, 0);
      assertEquals(Number.isInteger(Math.log2(tiles.lanes)), true, "shuffles need a power of two");
    }
  }
});
