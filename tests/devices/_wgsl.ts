/**
 * What a compute shader takes of a device, read from its WGSL: a second opinion beside the sums that the library
 * makes itself. It knows as much of the language as our kernels use, and throws at anything else.
 */

/** What a module takes. */
export interface Resources {
  /** Bytes of all its `var<workgroup>`. */
  readonly workgroupBytes: number;
  /** Its `var<storage>`. */
  readonly storageBuffers: number;
  /** Threads of a workgroup. */
  readonly threads: number;
}

/** Size and alignment of a type, in bytes. */
interface Extent {
  readonly size: number;
  readonly align: number;
}

const SCALARS: Readonly<Record<string, number>> = { f32: 4, u32: 4, i32: 4, bool: 4, f16: 2 };
const SUFFIXES: Readonly<Record<string, string>> = { f: "f32", u: "u32", i: "i32", h: "f16" };

/** Reads a whole module with one entry point. */
export function resourcesOf(code: string): Resources {
  const text = code.replace(/\/\*[\s\S]*?\*\/|\/\/.*$/gm, " ");
  const names = new Names(text);
  let workgroupBytes = 0;
  for (const [, type] of text.matchAll(/var<workgroup>\s+\w+\s*:\s*([^;]+);/g)) {
    const { size, align } = names.extentOf(type!);
    workgroupBytes = roundUp(workgroupBytes, align) + size;
  }
  if ((text.match(/<\s*workgroup\b/g) ?? []).length !== workgroupVariables(text)) {
    throw new Error("Cannot read the WGSL: workgroup memory is named in a way that is not known");
  }
  const sizes = [...text.matchAll(/@workgroup_size\(([^)]*)\)/g)];
  if (sizes.length !== 1) {
    throw new Error(`Cannot read the WGSL: it has ${sizes.length} entry points, expected 1`);
  }
  const threads = sizes[0]![1]!.split(",").map((size) => names.valueOf(size))
    .reduce((product, size) => product * size, 1);
  const storageBuffers = (text.match(/var<\s*storage\b/g) ?? []).length;
  return { workgroupBytes, storageBuffers, threads };
}

function workgroupVariables(text: string): number {
  return (text.match(/var<workgroup>\s+\w+\s*:/g) ?? []).length;
}

/** Constants, aliases and structures of a module. */
class Names {
  readonly #constants = new Map<string, string>();
  readonly #aliases = new Map<string, string>();
  readonly #structs = new Map<string, string>();

  constructor(text: string) {
    const all = (pattern: RegExp, into: Map<string, string>) => {
      for (const [, name, value] of text.matchAll(pattern)) into.set(name!, value!);
    };
    all(/^\s*const\s+(\w+)\s*(?::\s*\w+\s*)?=\s*([^;]+);/gm, this.#constants);
    all(/^\s*alias\s+(\w+)\s*=\s*([^;]+);/gm, this.#aliases);
    all(/^\s*struct\s+(\w+)\s*\{([^}]*)\}/gm, this.#structs);
  }

  /** Size and alignment, by the specification's rules. */
  extentOf(type: string): Extent {
    const name = type.trim();
    const scalar = SCALARS[name];
    if (scalar !== undefined) return { size: scalar, align: scalar };
    const vector = /^vec([234])(?:<\s*(\w+)\s*>|([fuih]))$/.exec(name);
    if (vector) {
      const count = Number(vector[1]);
      const { size } = this.extentOf(vector[2] ?? SUFFIXES[vector[3]!]!);
      return { size: count * size, align: (count === 3 ? 4 : count) * size };
    }
    const array = /^array<([\s\S]*),([^,]*)>$/.exec(name);
    if (array) {
      const { size, align } = this.extentOf(array[1]!);
      return { size: roundUp(size, align) * this.valueOf(array[2]!), align };
    }
    const alias = this.#aliases.get(name);
    if (alias !== undefined) return this.extentOf(alias);
    const struct = this.#structs.get(name);
    if (struct !== undefined) return this.#structExtent(struct);
    throw new Error(`Cannot read the WGSL: the type ${name} is not known`);
  }

  #structExtent(members: string): Extent {
    let size = 0;
    let align = 1;
    for (const [, type] of members.matchAll(/\w+\s*:\s*((?:[^,<]|<[^>]*>)+)/g)) {
      const member = this.extentOf(type!);
      size = roundUp(size, member.align) + member.size;
      align = Math.max(align, member.align);
    }
    return { size: roundUp(size, align), align };
  }

  /** The value of a constant expression of whole numbers. */
  valueOf(expression: string): number {
    const tokens = expression.match(/\d+|\w+|[-+*/%()]|\S/g) ?? [];
    let at = 0;
    const factor = (): number => {
      const token = tokens[at++] ?? "";
      if (/^\d+$/.test(token)) {
        if (/^[ui]$/.test(tokens[at] ?? "")) at++; // The suffix of a literal.
        return Number(token);
      }
      if (token === "(") {
        const value = sum();
        if (tokens[at++] !== ")") throw unknownExpression(expression);
        return value;
      }
      const constant = this.#constants.get(token);
      if (constant === undefined) throw unknownExpression(expression);
      return this.valueOf(constant);
    };
    const product = (): number => {
      let value = factor();
      while (/^[*/%]$/.test(tokens[at] ?? "")) {
        const operator = tokens[at++];
        const other = factor();
        if (operator === "*") value *= other;
        else if (operator === "/") value = Math.floor(value / other);
        else value %= other;
      }
      return value;
    };
    const sum = (): number => {
      let value = product();
      while (/^[-+]$/.test(tokens[at] ?? "")) {
        value = tokens[at++] === "+" ? value + product() : value - product();
      }
      return value;
    };
    const value = sum();
    if (at !== tokens.length) throw unknownExpression(expression);
    return value;
  }
}

function unknownExpression(expression: string): Error {
  return new Error(`Cannot read the WGSL: the size ${expression.trim()} is not known`);
}

function roundUp(value: number, multiple: number): number {
  return Math.ceil(value / multiple) * multiple;
}
