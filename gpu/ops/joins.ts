/** WGSL that joins a value of each of several neighbouring threads, in an order that their number alone decides. */

/** The threads that join values. */
export interface Joining {
  /** How many, a power of two; a workgroup of GROUP threads may have several such teams. */
  readonly threads: number;
  /** Lanes of a subgroup, if subgroups may be used; else 0. */
  readonly subgroup: number;
}

/**
 * Declares `fn <name>(value: <type>, thread: u32) -> <type>`, where `thread` is the thread's number in its team. All
 * threads of the workgroup call it, and all of a team get the result.
 *
 * @param pair WGSL that joins `a` and `b`, whatever their order.
 */
export function declareJoin(
  name: string,
  type: string,
  pair: string,
  { threads, subgroup }: Joining,
): string {
  const head = `fn ${name}(value: ${type}, thread: u32) -> ${type}`;
  if (threads === 1) return `${head} { return value; }\n`;
  const lanes = Math.min(threads, subgroup);
  const declarations = `fn ${name}_pair(a: ${type}, b: ${type}) -> ${type} { return ${pair}; }\n` +
    (threads > Math.max(1, subgroup)
      ? `var<workgroup> ${name}_partial: array<${type}, GROUP>;\n`
      : "");
  if (subgroup === 0) return declarations + joinByTree(name, head);
  let shuffles = "";
  for (let step = lanes / 2; step >= 1; step /= 2) {
    shuffles += `  v = ${name}_pair(v, subgroupShuffleXor(v, ${step}u));\n`;
  }
  const rest = threads > subgroup ? joinSubgroups(name, lanes) : "";
  return `${declarations}${head} {\n  var v = value;\n${shuffles}${rest}  return v;\n}\n`;
}

/** Whether a module with such a join uses subgroup operations. */
export function usesSubgroups({ threads, subgroup }: Joining): boolean {
  return threads > 1 && subgroup > 0;
}

/** `place` is the thread's number in its workgroup. */
export const PLACE = "var<private> place: u32 = 0u;\n";

function joinByTree(name: string, head: string): string {
  return /* wgsl */ `
${head} {
  ${name}_partial[place] = value;
  for (var half = THREADS / 2u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (thread < half) {
      ${name}_partial[place] = ${name}_pair(${name}_partial[place], ${name}_partial[place + half]);
    }
  }
  workgroupBarrier();
  let result = ${name}_partial[place - thread];
  workgroupBarrier();
  return result;
}
`;
}

/** Eight at a time, so that sums of equal numbers are rounded a few times and not once for each subgroup. */
function joinSubgroups(name: string, lanes: number): string {
  return /* wgsl */ `
  if (thread % ${lanes}u == 0u) { ${name}_partial[place / ${lanes}u] = v; }
  workgroupBarrier();
  let first = (place - thread) / ${lanes}u;
  for (var begin = 0u; begin < THREADS / ${lanes}u; begin += 8u) {
    var eight = ${name}_partial[first + begin];
    for (var i = begin + 1u; i < min(begin + 8u, THREADS / ${lanes}u); i++) {
      eight = ${name}_pair(eight, ${name}_partial[first + i]);
    }
    if (begin == 0u) { v = eight; } else { v = ${name}_pair(v, eight); }
  }
  workgroupBarrier();
`;
}
