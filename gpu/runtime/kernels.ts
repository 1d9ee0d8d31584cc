/** From WGSL to work on the queue: compiles each kernel once and dispatches it. */
import { BUFFER_USAGE, STAGE_COMPUTE } from "./flags.ts";
import { ShaderCompileError } from "../errors.ts";
import { splitGrid } from "../shape.ts";
import type { FaultLog } from "./faults.ts";
import type { DeviceLimits } from "./info.ts";
import { type MemoryPool, Storage } from "./memory.ts";
import type { Profiler } from "./profiler.ts";

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

/** How many parameter buffers to keep. Their contents are the key: equal calls share one. */
const MAX_PARAMS_BUFFERS = 512;

/** Compiled kernels and parameter buffers of one device. */
export class KernelCache {
  readonly #gpu: GPUDevice;
  readonly #memory: MemoryPool;
  readonly #faults: FaultLog;
  readonly #profiler: Profiler;
  readonly #limits: DeviceLimits;
  readonly #subgroupDirective: string;
  readonly #pipelines = new Map<string, GPUComputePipeline>();
  readonly #layouts = new Map<string, GPUBindGroupLayout>();
  readonly #params = new Map<string, { buffer: GPUBuffer; group: GPUBindGroup }>();
  readonly #paramsLayout: GPUBindGroupLayout;

  /**
   * @param limits How many workgroups a dispatch may have, and how much a binding may show.
   * @param subgroupDirective The `enable` line that this runtime wants before subgroup operations.
   */
  constructor(
    gpu: GPUDevice,
    memory: MemoryPool,
    faults: FaultLog,
    profiler: Profiler,
    limits: DeviceLimits,
    subgroupDirective: string,
  ) {
    this.#gpu = gpu;
    this.#memory = memory;
    this.#faults = faults;
    this.#profiler = profiler;
    this.#limits = limits;
    this.#subgroupDirective = subgroupDirective;
    this.#paramsLayout = this.#bindGroupLayout("params", ["uniform"]);
  }

  /**
   * Enqueues one dispatch. Errors of the GPU surface at the next await; see {@linkcode FaultLog}.
   *
   * @throws {RangeError} If a binding is larger than the device allows; nothing is enqueued then.
   */
  dispatch(kernel: Kernel, { storages: bound, params, workgroups }: Dispatch): void {
    this.#faults.assertAlive();
    const entries = bound.map((part, binding) => ({
      binding,
      resource: this.#resource(kernel, part),
    }));
    const storages = bound.map((part) => part instanceof Storage ? part : part.storage);
    for (const [i, access] of kernel.bindings.entries()) {
      if (access !== "write") this.#faults.assertSound(storages[i]!);
    }
    if (workgroups === 0) return;
    const grid = splitGrid(workgroups, this.#limits.maxComputeWorkgroupsPerDimension);
    const pipeline = this.#pipeline(kernel);
    const group = this.#gpu.createBindGroup({
      label: kernel.label,
      layout: this.#storageLayout(kernel),
      entries,
    });
    const encoder = this.#gpu.createCommandEncoder({ label: kernel.label });
    const timestampWrites = this.#profiler.begin(kernel.label);
    const pass = encoder.beginComputePass(timestampWrites ? { timestampWrites } : undefined);
    pass.setPipeline(pipeline);
    pass.setBindGroup(0, group);
    pass.setBindGroup(1, this.#paramsGroup(params));
    pass.dispatchWorkgroups(...grid);
    pass.end();
    this.#gpu.queue.submit([encoder.finish()]);
    const sources = storages.filter((_, i) => kernel.bindings[i] !== "write");
    for (const [i, access] of kernel.bindings.entries()) {
      if (access !== "read") this.#faults.noteWrite(storages[i]!, sources);
      if (access === "update") storages[i]!.version++;
    }
  }

  /** Destroys all parameter buffers. */
  emptyCache(): void {
    for (const { buffer } of this.#params.values()) this.#memory.destroyBuffer(buffer);
    this.#params.clear();
  }

  #resource({ label }: Kernel, bound: Binding): GPUBufferBinding {
    const { maxStorageBufferBindingSize: limit } = this.#limits;
    const [{ buffer }, offset, size] = bound instanceof Storage
      ? [bound, 0, bound.buffer.size]
      : [bound.storage, bound.offset, bound.size];
    if (size > limit) {
      throw new RangeError(
        `Cannot run kernel "${label}": a binding takes ${size} bytes, the device's ` +
          `maxStorageBufferBindingSize is ${limit}; split the tensor`,
      );
    }
    const isInside = offset % BINDING_ALIGNMENT === 0 && size % 4 === 0 && size > 0 &&
      offset >= 0 && offset + size <= buffer.size;
    if (!isInside) {
      throw new RangeError(
        `Cannot run kernel "${label}": a binding takes ${size} bytes from byte ${offset} of ` +
          `${buffer.size}, expected whole words within the buffer from a multiple of ` +
          `${BINDING_ALIGNMENT}`,
      );
    }
    return bound instanceof Storage ? { buffer } : { buffer, offset, size };
  }

  #pipeline(kernel: Kernel): GPUComputePipeline {
    const known = this.#pipelines.get(kernel.source);
    if (known) return known;
    const code = kernel.subgroups ? this.#subgroupDirective + kernel.source : kernel.source;
    this.#gpu.pushErrorScope("validation");
    const module = this.#gpu.createShaderModule({ label: kernel.label, code });
    const pipeline = this.#gpu.createComputePipeline({
      label: kernel.label,
      layout: this.#gpu.createPipelineLayout({
        bindGroupLayouts: [this.#storageLayout(kernel), this.#paramsLayout],
      }),
      compute: { module, entryPoint: "main" },
    });
    this.#pipelines.set(kernel.source, pipeline);
    const check = compileError(this.#gpu.popErrorScope(), module, kernel.label, code);
    this.#faults.track(check.then((error) => {
      // Whoever comes next is to be told of the compiler's messages as well.
      if (error) this.#pipelines.delete(kernel.source);
      return error;
    }));
    return pipeline;
  }

  #storageLayout(kernel: Kernel): GPUBindGroupLayout {
    return this.#bindGroupLayout(
      kernel.bindings.join(),
      kernel.bindings.map((access) => access === "read" ? "read-only-storage" : "storage"),
    );
  }

  #bindGroupLayout(key: string, types: GPUBufferBindingType[]): GPUBindGroupLayout {
    let layout = this.#layouts.get(key);
    if (!layout) {
      layout = this.#gpu.createBindGroupLayout({
        label: key,
        entries: types.map((type, binding) => ({
          binding,
          visibility: STAGE_COMPUTE,
          buffer: { type },
        })),
      });
      this.#layouts.set(key, layout);
    }
    return layout;
  }

  /** Writing a uniform takes up to half of a dispatch's host time, and loops repeat theirs. */
  #paramsGroup(params: Uint32Array<ArrayBuffer>): GPUBindGroup {
    const key = params.join();
    let entry = this.#params.get(key);
    if (entry) {
      this.#params.delete(key);
    } else {
      if (this.#params.size >= MAX_PARAMS_BUFFERS) {
        const [oldest, { buffer }] = this.#params.entries().next().value!;
        this.#params.delete(oldest);
        this.#memory.destroyBuffer(buffer);
      }
      const usage = BUFFER_USAGE.UNIFORM | BUFFER_USAGE.COPY_DST;
      const buffer = this.#memory.createBuffer(params.byteLength, usage);
      this.#gpu.queue.writeBuffer(buffer, 0, params);
      const group = this.#gpu.createBindGroup({
        label: "params",
        layout: this.#paramsLayout,
        entries: [{ binding: 0, resource: { buffer } }],
      });
      entry = { buffer, group };
    }
    this.#params.set(key, entry); // Last in the map: the most recently used.
    return entry.group;
  }
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
