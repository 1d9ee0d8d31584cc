/** WGSL that joins what neighbouring threads hold, by a butterfly of shuffles. */

/** `sum_over_lanes(vec4f)` and `or_over_lanes(u32)` over groups of this many threads, a power of two. */
export function overLanes(lanes: number): string {
  const butterfly = (step: (other: string) => string): string => {
    let steps = "";
    for (let distance = 1; distance < lanes; distance *= 2) {
      steps += `  all ${step(`subgroupShuffleXor(all, ${distance}u)`)};\n`;
    }
    return steps;
  };
  return /* wgsl */ `
fn sum_over_lanes(value: vec4f) -> vec4f {
  var all = value;
${butterfly((other) => `+= ${other}`)}  return all;
}
fn or_over_lanes(value: u32) -> u32 {
  var all = value;
${butterfly((other) => `|= ${other}`)}  return all;
}
`;
}
