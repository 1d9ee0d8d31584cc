/** From WGSL to work on the queue: compiles each kernel once and dispatches it. */
import { ShaderCompileError } from "../errors.ts";
import { splitGrid } from "../shape.ts";
import type { CommandQueue } from "./commands.ts";
import type { FaultLog } from "./faults.ts";
import { STAGE_COMPUTE } from "./flags.ts";
import type { DeviceLimits } from "./info.ts";
import { Storage } from "./memory.ts";

/**
 * What a kernel does with a binding: it reads it, fills it with new contents, or changes what is there, which
 * tensors that autograd has saved must not see.
 */
export type Access = "read" | "write" | "update";

/** A compute shader and the bindings it declares. */
export interface Kernel {
  /** What it is called in errors and profiles, as in `flash_forward`. */
  readonly label: string;
  /** Whole WGSL module with one entry point, `main`. */
  readonly source: string;
  /** Group 0, in order of binding number: what the kernel does with it. Group 1 holds the parameters. */
  readonly bindings: readonly Access[];
  /** Whether the source uses subgroup operations. */
  readonly subgroups?: boolean;
}

/** Where a bound range may begin: at multiples of so many bytes, on every device. */
export const BINDING_ALIGNMENT = 256;

/** A part of a storage, for storages larger than what one binding can show. */
export interface StorageRange {
  /** The storage. */
  readonly storage: Storage;
  /** First byte of the part, a multiple of {@linkcode BINDING_ALIGNMENT}. */
  readonly offset: number;
  /** Bytes of the part, a multiple of 4 and at most `maxStorageBufferBindingSize`. */
  readonly size: number;
}

/** What a kernel sees at one binding: all of a storage, or a range of it as if that were all. */
export type Binding = Storage | StorageRange;

/** What one dispatch works on. */
export interface Dispatch {
  /** What is behind group 0, in order. */
  readonly storages: readonly Binding[];
  /** Packed uniform parameters. */
  readonly params: Uint32Array<ArrayBuffer>;
  /** Number of workgroups; see {@linkcode splitGrid} for how the kernel numbers them. */
  readonly workgroups: number;
}

/**
 * WGSL for the number of this workgroup, whatever dimensions the grid was spread over. Numbers beyond
 * the count that was asked for occur; a kernel must ignore them.
 */
export const WORKGROUP_INDEX = /* wgsl */ `
fn workgroup_index(id: vec3u, count: vec3u) -> u32 {
  return id.x + count.x * (id.y + count.y * id.z);
}
`;

/**
 * The head of an entry point with THREADS threads in a workgroup, for bodies that number workgroups by
 * {@linkcode WORKGROUP_INDEX} of `workgroup` and `workgroups`, and threads by `thread`; the body closes its brace.
 */
export const MAIN = /* wgsl */ `
@compute @workgroup_size(THREADS)
fn main(
  @builtin(workgroup_id) workgroup: vec3u,
  @builtin(num_workgroups) workgroups: vec3u,
  @builtin(local_invocation_index) thread: u32,
) {`;

/** How many bind groups to keep: a training step repeats the same few hundred. */
const MAX_GROUPS = 2048;

/** A kernel as the device has it. */
interface Compiled {
  readonly pipeline: GPUComputePipeline;
  readonly layout: StorageLayout;
}

/** The layout of group 0, and its number, which begins the keys of its bind groups. */
interface StorageLayout {
  readonly layout: GPUBindGroupLayout;
  readonly number: number;
}

/** Compiled kernels of one device, and the bind groups that they were last used with. */
export class KernelCache {
  readonly #gpu: GPUDevice;
  readonly #faults: FaultLog;
  readonly #commands: CommandQueue;
  readonly #limits: DeviceLimits;
  readonly #subgroupDirective: string;
  readonly #pipelines = new Map<string, Compiled>();
  readonly #layouts = new Map<string, StorageLayout>();
  /**
   * Making one takes longer than recording the rest of a dispatch. The least recently used go first. A group
   * keeps no memory: that of its buffers is free when these are destroyed.
   */
  readonly #groups = new Map<string, GPUBindGroup>();
  /** Buffers by number, for keys. */
  readonly #numbers = new WeakMap<GPUBuffer, number>();
  #buffers = 0;

  /**
   * @param limits How many workgroups a dispatch may have, and how much a binding may show.
   * @param subgroupDirective The `enable` line that this runtime wants before subgroup operations.
   */
  constructor(
    gpu: GPUDevice,
    faults: FaultLog,
    commands: CommandQueue,
    limits: DeviceLimits,
    subgroupDirective: string,
  ) {
    this.#gpu = gpu;
    this.#faults = faults;
    this.#commands = commands;
    this.#limits = limits;
    this.#subgroupDirective = subgroupDirective;
  }

  /**
   * Enqueues one dispatch. Errors of the GPU surface at the next await; see {@linkcode FaultLog}.
   *
   * @throws {RangeError} If a binding is larger than the device allows; nothing is enqueued then.
   */
  dispatch(kernel: Kernel, { storages: bound, params, workgroups }: Dispatch): void {
    this.#faults.assertAlive();
    const storages = bound.map((part) => part instanceof Storage ? part : part.storage);
    for (const part of bound) this.#assertBindable(kernel, part);
    kernel.bindings.forEach((access, i) => {
      if (access !== "write") this.#faults.assertSound(storages[i]!);
    });
    if (workgroups === 0) return;
    const { pipeline, layout } = this.#compiled(kernel);
    this.#commands.dispatch({
      label: kernel.label,
      pipeline,
      group: this.#group(layout, bound),
      buffers: storages.map(({ buffer }) => buffer),
      params,
      grid: splitGrid(workgroups, this.#limits.maxComputeWorkgroupsPerDimension),
    });
    const sources = storages.filter((_, i) => kernel.bindings[i] !== "write");
    kernel.bindings.forEach((access, i) => {
      if (access !== "read") this.#faults.noteWrite(storages[i]!, sources);
      if (access === "update") storages[i]!.version++;
    });
  }

  /** Number of kernels that are compiled. */
  get compiled(): number {
    return this.#pipelines.size;
  }

  /** Forgets the kernels compiled since there were so many, so that they are compiled, and judged, once more. */
  forgetSince(compiled: number): void {
    for (const source of [...this.#pipelines.keys()].slice(compiled)) {
      this.#pipelines.delete(source);
    }
  }

  /** Forgets all bind groups. */
  emptyCache(): void {
    this.#groups.clear();
  }

  #assertBindable({ label }: Kernel, bound: Binding): void {
    const { maxStorageBufferBindingSize: limit } = this.#limits;
    const isWhole = bound instanceof Storage;
    const { buffer } = isWhole ? bound : bound.storage;
    const size = isWhole ? buffer.size : bound.size;
    if (size > limit) {
      throw new RangeError(
        `Cannot run kernel "${label}": a binding takes ${size} bytes, the device's ` +
          `maxStorageBufferBindingSize is ${limit}; split the tensor`,
      );
    }
    if (isWhole) return;
    const { offset } = bound;
    const isInside = offset % BINDING_ALIGNMENT === 0 && size % 4 === 0 && size > 0 &&
      offset >= 0 && offset + size <= buffer.size;
    if (!isInside) {
      throw new RangeError(
        `Cannot run kernel "${label}": a binding takes ${size} bytes from byte ${offset} of ` +
          `${buffer.size}, expected whole words within the buffer from a multiple of ` +
          `${BINDING_ALIGNMENT}`,
      );
    }
  }

  #compiled(kernel: Kernel): Compiled {
    const known = this.#pipelines.get(kernel.source);
    if (known) return known;
    const layout = this.#storageLayout(kernel.bindings);
    const code = kernel.subgroups ? this.#subgroupDirective + kernel.source : kernel.source;
    this.#gpu.pushErrorScope("validation");
    const module = this.#gpu.createShaderModule({ label: kernel.label, code });
    const pipeline = this.#gpu.createComputePipeline({
      label: kernel.label,
      layout: this.#gpu.createPipelineLayout({
        bindGroupLayouts: [layout.layout, this.#commands.paramsLayout],
      }),
      compute: { module, entryPoint: "main" },
    });
    const compiled = { pipeline, layout };
    this.#pipelines.set(kernel.source, compiled);
    const check = compileError(this.#gpu.popErrorScope(), module, kernel.label, code);
    this.#faults.track(check.then((error) => {
      // Whoever comes next is to be told of the compiler's messages as well.
      if (error) this.#pipelines.delete(kernel.source);
      return error;
    }));
    return compiled;
  }

  #storageLayout(bindings: readonly Access[]): StorageLayout {
    const key = bindings.map((access) => access === "read" ? "r" : "w").join("");
    let known = this.#layouts.get(key);
    if (!known) {
      const layout = this.#gpu.createBindGroupLayout({
        label: key,
        entries: bindings.map((access, binding) => ({
          binding,
          visibility: STAGE_COMPUTE,
          buffer: { type: access === "read" ? "read-only-storage" : "storage" },
        })),
      });
      this.#layouts.set(key, known = { layout, number: this.#layouts.size });
    }
    return known;
  }

  #group({ layout, number }: StorageLayout, bound: readonly Binding[]): GPUBindGroup {
    let key = `${number}`;
    for (const part of bound) {
      key += part instanceof Storage
        ? ` ${this.#numberOf(part.buffer)}`
        : ` ${this.#numberOf(part.storage.buffer)}:${part.offset}:${part.size}`;
    }
    let group = this.#groups.get(key);
    if (group) {
      this.#groups.delete(key);
    } else {
      if (this.#groups.size >= MAX_GROUPS) this.#groups.delete(this.#groups.keys().next().value!);
      group = this.#gpu.createBindGroup({
        layout,
        entries: bound.map((part, binding) => ({ binding, resource: resourceOf(part) })),
      });
    }
    this.#groups.set(key, group); // Last in the map: the most recently used.
    return group;
  }

  #numberOf(buffer: GPUBuffer): number {
    let number = this.#numbers.get(buffer);
    if (number === undefined) this.#numbers.set(buffer, number = this.#buffers++);
    return number;
  }
}

function resourceOf(bound: Binding): GPUBufferBinding {
  if (bound instanceof Storage) return { buffer: bound.buffer };
  return { buffer: bound.storage.buffer, offset: bound.offset, size: bound.size };
}

/** What the compiler has to say, where it refused. */
async function compileError(
  scope: Promise<GPUError | null>,
  module: GPUShaderModule,
  label: string,
  code: string,
): Promise<ShaderCompileError | undefined> {
  const error = await scope;
  if (!error) return undefined;
  const { messages } = await module.getCompilationInfo();
  const lines = messages.map(({ type, lineNum, linePos, message }) =>
    `${type} at ${lineNum}:${linePos}: ${message.trim()}`
  );
  return new ShaderCompileError(
    `Cannot compile kernel "${label}": ${[error.message.trim(), ...lines].join("\n")}\n${code}`,
  );
}
