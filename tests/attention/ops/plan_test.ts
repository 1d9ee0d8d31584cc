/** Plans of launches, by arithmetic alone: what each touches fits, and together they cover all once. */
import { contiguousLayout } from "../../../gpu/layout.ts";
import type { Tile } from "../../../attention/kernels/_tiles.ts";
import {
  type Operand,
  type PlanInputs,
  planLaunches,
  spanOf,
} from "../../../attention/ops/plan.ts";
import { assertEquals, assertLessOrEqual, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";

const BLOCK_ROWS = 64;

function tiles(B: number, Mq: number, Mkv: number): Tile[] {
  const rest = { queryBegin: 0, queries: Mq, keyBegin: 0, keys: Mkv, pages: 0 };
  const list: Tile[] = [];
  for (let batch = 0; batch < B; batch++) {
    for (let firstRow = 0; firstRow < Mq; firstRow += BLOCK_ROWS) {
      list.push({ ...rest, batch, block: batch, firstRow });
    }
  }
  return list;
}

/** A plan for dense f32 inputs [B, M, G, H, K], and a bias [B, G, H, Mq, Mkv] if there is one. */
function inputs(
  [B, Mq, Mkv, G, H, K]: [number, number, number, number, number, number],
  limit: number,
  hasBias = false,
): PlanInputs {
  const rows = (M: number, role: "query" | "key"): Operand => {
    const layout = contiguousLayout([B, M, G, H, K]);
    const [batch, row, group, head] = layout.strides as [number, number, number, number];
    const strides = { batch, query: 0, key: 0, group, head, [role]: row };
    return { layout, strides, bytes: 4, tail: K };
  };
  const bias = (): Operand => {
    const layout = contiguousLayout([B, G, H, Mq, Mkv]);
    const [batch, group, head, query, key] = layout.strides as [
      number,
      number,
      number,
      number,
      number,
    ];
    return { layout, strides: { batch, query, key, group, head }, bytes: 4, tail: 1 };
  };
  return {
    whole: { tiles: tiles(B, Mq, Mkv), groups: [0, G], heads: [0, H], chunks: [[0, Mkv]] },
    operands: {
      query: rows(Mq, "query"),
      key: rows(Mkv, "key"),
      ...(hasBias ? { bias: bias() } : {}),
      out: rows(Mq, "query"),
    },
    blockRows: BLOCK_ROWS,
    partialRowBytes: 4 * G * H * K,
    limit,
  };
}

/** Checks a plan; returns the number of launches and the most chunks of one. */
function check(plan: PlanInputs): { launches: number; chunks: number } {
  const launches = planLaunches(plan);
  const seen = new Map<string, number>();
  for (const launch of launches) {
    let at = plan.whole.chunks[0]![0];
    for (const keys of launch.chunks) {
      assertEquals(keys[0], at, "chunks follow each other");
      at = keys[1];
      for (const [name, operand] of Object.entries(plan.operands)) {
        const [begin, end] = spanOf(operand, launch, keys, plan.blockRows);
        assertLessOrEqual((end - begin) * operand.bytes, plan.limit, name);
      }
    }
    assertEquals(at, plan.whole.chunks[0]![1], "chunks cover all keys");
    for (const { batch, firstRow } of launch.tiles) {
      for (let g = launch.groups[0]; g < launch.groups[1]; g++) {
        for (let h = launch.heads[0]; h < launch.heads[1]; h++) {
          const id = [batch, firstRow, g, h].join();
          seen.set(id, (seen.get(id) ?? 0) + 1);
        }
      }
    }
  }
  const { tiles, groups, heads } = plan.whole;
  assertEquals(seen.size, tiles.length * groups[1] * heads[1], "every tile of every head is taken");
  assertEquals(new Set(seen.values()), new Set([1]), "and none twice");
  return {
    launches: launches.length,
    chunks: Math.max(...launches.map(({ chunks }) => chunks.length)),
  };
}

describe("planLaunches()", () => {
  it("makes one launch where everything fits", () => {
    assertEquals(check(inputs([2, 200, 200, 1, 2, 16], 1 << 20)), { launches: 1, chunks: 1 });
  });

  it("cuts a batch by sequences, without chunks", () => {
    // 25,600 bytes a sequence of keys.
    assertEquals(check(inputs([4, 64, 200, 1, 2, 16], 30_000)).chunks, 1);
  });

  it("cuts rows where queries are long, and keys into chunks where these are", () => {
    const rows = check(inputs([1, 2000, 100, 1, 2, 16], 40_000));
    assertEquals(rows.chunks, 1);
    assertEquals(rows.launches > 6, true);
    assertEquals(check(inputs([1, 64, 2000, 1, 2, 16], 70_000)).chunks, 4);
  });

  it("cuts heads where a bias has a matrix for each", () => {
    const { launches, chunks } = check(inputs([1, 100, 100, 2, 4, 16], 60_000, true));
    assertEquals(chunks, 1);
    assertEquals(launches, 8);
  });

  it("keeps partial results within the limit", () => {
    const plan = inputs([1, 640, 3000, 1, 2, 16], 100_000);
    const { chunks } = check(plan);
    for (const { tiles, chunks: own } of planLaunches(plan)) {
      const rows = tiles.reduce((sum, { firstRow }) => sum + Math.min(64, 640 - firstRow), 0);
      assertLessOrEqual(own.length * rows * plan.partialRowBytes, plan.limit);
    }
    assertEquals(chunks, 4);
  });

  it("covers everything once for any sizes", () => {
    let state = 1;
    const draw = (low: number, high: number) => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      return low + Math.floor((high - low + 1) * (state / 2 ** 32));
    };
    for (let run = 0; run < 200; run++) {
      const sizes = [
        draw(1, 4),
        draw(1, 400),
        draw(1, 900),
        draw(1, 2),
        draw(1, 3),
        4 * draw(1, 4),
      ] as [number, number, number, number, number, number];
      check(inputs(sizes, draw(60_000, 400_000), run % 2 === 0 && sizes[2] < 200));
    }
  });

  it("throws where a block of rows or its partial results are too much", () => {
    assertThrows(
      () => planLaunches(inputs([1, 64, 10, 1, 1, 16], 3000)),
      RangeError,
      "block of 64 rows needs of the query spans more than 3000 bytes",
    );
    assertThrows(
      () => planLaunches(inputs([1, 64, 9000, 1, 2, 16], 9000)),
      RangeError,
      "partial results of 64 rows over",
    );
  });
});
