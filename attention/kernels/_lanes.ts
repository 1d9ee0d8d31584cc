/**
 * WGSL for threads that share rows. LANES threads share ROWS rows, each with a part of every row, so that a
 * product over a row is a sum over the lanes. Instead of giving every lane every sum, each lane comes to own
 * OWN of the rows: what follows for a score (bias, mask, exponential, dropout) is then done once, and handed
 * back to the other lanes by one shuffle.
 *
 * A lane numbers the rows in an order of its own, in which row r of lane p is row `r ^ p` of the group. So
 * its own row always comes first, the row of the lane at distance d is number d, and no index depends on the
 * lane. The lanes of a group lie LANE_STRIDE threads apart: neighbouring threads are then the same lane of
 * different groups and read the same address of workgroup memory, which NVIDIA's serves 1.4 times as fast.
 */

/** How threads share rows. */
export interface Sharing {
  /** Threads that share rows; a power of two. */
  readonly lanes: number;
  /** Rows that they share; a power of two. */
  readonly rows: number;
  /** Threads from one lane of a group to the next; `lanes * laneStride` is at most the subgroup size. */
  readonly laneStride: number;
}

/**
 * Constants of {@linkcode shareRows}: rows that each own one of SHARED lanes, so many rows (OWN) for each, and
 * TWINS lanes that own the same.
 */
export function sharingConstants({ lanes, rows, laneStride }: Sharing): Record<string, number> {
  const shared = Math.min(lanes, rows);
  return {
    LANES: lanes,
    LANE_STRIDE: laneStride,
    ROWS: rows,
    SHARED: shared,
    OWN: rows / shared,
    TWINS: lanes / shared,
  };
}

/**
 * - `lane_of(thread)`, `group_of(thread)`: which lane of which group;
 * - `row_of_lane(lane, r)`: number in the group of a lane's r-th row; its own are r = 0, SHARED, ...;
 * - `join_rows(parts)`: of SHARED rows' parts, the sum over the lanes for this lane's own row;
 * - `of_row(own, r)`, `factor_of_row(own, r)`: what the owner of this lane's r-th row has;
 * - `or_over_twins(bits)`: of the lanes that own the same rows.
 */
export function shareRows({ lanes, rows, laneStride }: Sharing): string {
  const shared = Math.min(lanes, rows);
  const handed = (name: string, type: string) => /* wgsl */ `
fn ${name}(own: ${type}, r: u32) -> ${type} {
${
    shared === 1
      ? ""
      : `  if (r % SHARED != 0u) { return subgroupShuffleXor(own, r % SHARED * LANE_STRIDE); }\n`
  }  return own;
}
`;
  return /* wgsl */ `
fn lane_of(thread: u32) -> u32 { return thread / LANE_STRIDE % LANES; }
fn group_of(thread: u32) -> u32 {
  return thread / (LANES * LANE_STRIDE) * LANE_STRIDE + thread % LANE_STRIDE;
}
fn row_of_lane(lane: u32, r: u32) -> u32 {
  return r / SHARED * SHARED + ((r % SHARED) ^ (lane % SHARED));
}
fn join_rows(parts: array<vec4f, SHARED>) -> vec4f {
${joinSteps(lanes, shared, laneStride)}}
${handed("of_row", "vec4f")}${handed("factor_of_row", "f32")}
fn or_over_twins(bits: u32) -> u32 {
  var all = bits;
${butterfly("|=", shared, lanes, laneStride)}  return all;
}
${overLanes(lanes, laneStride)}
`;
}

/**
 * Each step halves the rows that a lane still has parts of; what is left to sum goes over lanes of one row. Lanes are
 * added by growing distances, whatever the number of rows: a product has the same bits in all kernels that share
 * rows between as many lanes, which the weights of the backward pass rely on.
 */
function joinSteps(lanes: number, shared: number, laneStride: number): string {
  let steps = "";
  let names = Array.from({ length: shared }, (_, r) => `parts[${r}]`);
  for (let distance = 1; distance < shared; distance *= 2) {
    names = names.filter((_, r) => r % 2 === 0).map((kept, r) => {
      const sum = `sum_${distance}_${r}`;
      const sent = names[2 * r + 1]!;
      steps += `  let ${sum} = ${kept} + subgroupShuffleXor(${sent}, ${distance * laneStride}u);\n`;
      return sum;
    });
  }
  return `${steps}  var all = ${names[0]};\n${
    butterfly("+=", shared, lanes, laneStride)
  }  return all;\n`;
}

/** Joins `all` of the lanes at distances from one power of two up to another. */
function butterfly(operator: string, from: number, lanes: number, laneStride: number): string {
  let steps = "";
  for (let distance = from; distance < lanes; distance *= 2) {
    steps += `  all ${operator} subgroupShuffleXor(all, ${distance * laneStride}u);\n`;
  }
  return steps;
}

/** `sum_over_lanes(vec4f)` and `or_over_lanes(u32)`, which give every lane of a group the same. */
export function overLanes(lanes: number, laneStride = 1): string {
  return /* wgsl */ `
fn sum_over_lanes(value: vec4f) -> vec4f {
  var all = value;
${butterfly("+=", 1, lanes, laneStride)}  return all;
}
fn or_over_lanes(value: u32) -> u32 {
  var all = value;
${butterfly("|=", 1, lanes, laneStride)}  return all;
}
`;
}
