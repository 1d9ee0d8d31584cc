/** From nothing to a runtime: chooses an adapter, asks for all that it can give, and tests it. */
import { assertNotNegative, checkedOptions, type OptionNames, told } from "../checks.ts";
import { GpuUnavailableError, GpuValidationError, ShaderCompileError } from "../errors.ts";
import { adapterRemedy } from "../remedy.ts";
import { TuningFile } from "../tuning/file.ts";
import { denoHost, tuningKey, tuningPath } from "../tuning/place.ts";
import { avoidOpenGL } from "./backend.ts";
import {
  adapterName,
  type DeviceLimits,
  LEAST_LIMITS,
  RAISED_LIMITS,
  readLimits,
  runtimeName,
  vendorName,
} from "./info.ts";
import { runsLongLoops, subgroupSize } from "./probes.ts";
import { Runtime } from "./runtime.ts";

/** Options of `requestDevice`. */
export interface DeviceOptions {
  /** Which adapter to prefer where there are several. Default `"high-performance"`. */
  powerPreference?: GPUPowerPreference;
  /** Only take an adapter that computes on the CPU, where the runtime can tell. Default `false`. */
  forceFallbackAdapter?: boolean;
  /**
   * Limits lower than the adapter's, to test how code does on smaller devices. Storage buffers, workgroup memory and
   * threads must be those that every WebGPU device has, at least: kernels rely on them. Default: none.
   */
  limits?: Partial<DeviceLimits>;
  /** Whether kernels may use subgroups; `false` to test how they do without. Default `true`. */
  subgroups?: boolean;
  /** Bytes of unused buffers to keep for reuse. Default 512 MiB. */
  poolBytes?: number;
  /**
   * Whether to choose between forms of a kernel by measurement, at the first use for each class of problems, see
   * `device.tuning()`; `false` for fixed choices. Default `true`.
   */
  tune?: boolean | TuningOptions;
}

/** Their names. */
export const DEVICE_OPTIONS: OptionNames<DeviceOptions> = {
  powerPreference: "string",
  forceFallbackAdapter: "",
  limits: "",
  subgroups: "",
  poolBytes: "",
  tune: "boolean",
};

/** How kernels are chosen by measurement. */
export interface TuningOptions {
  /**
   * Path of the file that keeps choices; `false` for none. Default `denoformers/tuning.json` in the user's folder for
   * caches, or what the environment's DENOFORMERS_TUNING_CACHE says. It is used in Deno alone, where reading and
   * writing it, and reading the environment, are permitted already.
   */
  cache?: string | false;
  /**
   * After how many milliseconds to try no further form for a class of problems: compiling takes most of that time.
   * Default 2000.
   */
  budget?: number;
}

const TUNING_OPTIONS: OptionNames<TuningOptions> = { cache: "string", budget: "number" };

const LIMITS: OptionNames<DeviceLimits> = {
  maxBufferSize: "",
  maxStorageBufferBindingSize: "",
  maxStorageBuffersPerShaderStage: "",
  maxComputeWorkgroupStorageSize: "",
  maxComputeInvocationsPerWorkgroup: "",
  maxComputeWorkgroupsPerDimension: "",
};

/** Default of {@linkcode TuningOptions.budget}. */
const TUNING_BUDGET = 2000;

/** Asked for where the adapter lists them; `subgroups` also where it does not, see below. */
const OPTIONAL_FEATURES = ["shader-f16", "timestamp-query"] as const;

/** Requests a device and tests it; throws {@linkcode GpuUnavailableError} with a remedy. */
export async function requestRuntime(options: DeviceOptions): Promise<Runtime> {
  assertPreferences(options);
  assertTune(options.tune);
  assertLimits(options.limits ?? {});
  const gpuApi = (globalThis as { navigator?: { gpu?: GPU } }).navigator?.gpu;
  if (!gpuApi) {
    throw new GpuUnavailableError(
      `WebGPU is not available in ${runtimeName()}: navigator.gpu is missing. ` +
        "Use Deno 2.9 or later, or a browser with WebGPU on a secure (https) page",
    );
  }
  avoidOpenGL();
  const { gpu, adapter } = await requestGpu(gpuApi, options);
  const { vendor, architecture } = adapter.info;
  const info = {
    adapter: adapterName(adapter.info),
    vendor: vendorName(vendor),
    architecture,
    isFallback: adapter.info.isFallbackAdapter ?? false,
    runtime: runtimeName(),
    f16: gpu.features.has("shader-f16"),
    timestamps: gpu.features.has("timestamp-query"),
    limits: lowered(readLimits(gpu.limits), options.limits ?? {}),
    subgroupSize: 0,
  };
  const runtime = new Runtime(gpu, info, {
    subgroupDirective: await subgroupDirective(gpu),
    poolBytes: options.poolBytes ?? 512 * 2 ** 20,
  });
  const isTuned = options.tune ?? true;
  await Promise.all([runtime.readback.warmUp(), isTuned && runtime.readback.prepareSync()]);
  if (!await runsLongLoops(runtime)) {
    runtime.dispose();
    throw new GpuUnavailableError(
      `The driver of ${info.adapter} is unsafe: it silently ends loops after 65,535 turns, ` +
        `so that results would be wrong (Mesa 24.0 and older do this).\n${remedy()}`,
    );
  }
  if (gpu.features.has("subgroups")) {
    // Some drivers choose a size for each kernel; then only the smallest can be relied on.
    const smallest = adapter.info.subgroupMinSize || Infinity;
    info.subgroupSize = Math.min(await probedSubgroupSize(runtime), smallest);
  }
  if (isTuned) startTuning(runtime, options.tune, adapter.info);
  return runtime;
}

function assertPreferences({ powerPreference, poolBytes = 0 }: DeviceOptions): void {
  if (![undefined, "low-power", "high-performance"].includes(powerPreference)) {
    throw new TypeError(
      `Cannot request a device: powerPreference is ${told(powerPreference)}, expected ` +
        '"low-power" or "high-performance"',
    );
  }
  assertNotNegative("request a device", "poolBytes", poolBytes);
}

function assertTune(tune: DeviceOptions["tune"]): void {
  if (tune === undefined || typeof tune === "boolean") return;
  if (typeof tune !== "object" || tune === null) {
    throw new TypeError(
      `Cannot request a device: tune is ${told(tune)}, expected true, false or options`,
    );
  }
  const { cache = false, budget = 0 } = checkedOptions(
    "request a device: tune",
    tune,
    TUNING_OPTIONS,
  );
  if (cache !== false && typeof cache !== "string") {
    throw new TypeError(
      `Cannot request a device: tune.cache is ${
        told(cache)
      }, expected a path, or false for no file`,
    );
  }
  if (!(typeof budget === "number" && budget >= 0)) {
    throw new RangeError(
      `Cannot request a device: tune.budget is ${told(budget)}, expected milliseconds, 0 or more`,
    );
  }
}

/** Below these, kernels would not compile, or, for want of workgroup memory, be wrong. */
function assertLimits(wanted: Partial<DeviceLimits>): void {
  checkedOptions("request a device: limits", wanted, LIMITS);
  for (const name of RAISED_LIMITS) {
    const value: unknown = wanted[name];
    const least = LEAST_LIMITS[name] ?? 1;
    if (value === undefined || (typeof value === "number" && value >= least)) continue;
    throw new RangeError(
      `Cannot request a device: limits.${name} is ${told(value)}, expected at least ${least}` +
        (least > 1 ? ", as every WebGPU device has" : ""),
    );
  }
}

function startTuning(
  runtime: Runtime,
  tune: DeviceOptions["tune"],
  adapter: GPUAdapterInfo,
): void {
  const { cache, budget = TUNING_BUDGET } = typeof tune === "object" ? tune : {};
  const host = cache === false ? undefined : denoHost();
  const path = host && tuningPath(host, cache || undefined);
  // Not in the specification; some runtimes tell.
  const { driver = "" } = adapter as { driver?: string };
  const file = path === undefined
    ? undefined
    : new TuningFile(host!.files, path, tuningKey(runtime.info, `${driver}`));
  runtime.tuner.start({ file, budget });
}

async function requestGpu(
  gpuApi: GPU,
  options: DeviceOptions,
): Promise<{ gpu: GPUDevice; adapter: GPUAdapter }> {
  let failure = "navigator.gpu.requestAdapter() found no adapter";
  // Deno's adapters do not list subgroups, yet grant them; so ask, and do without where refused.
  const extras: GPUFeatureName[][] = options.subgroups ?? true ? [["subgroups"], []] : [[]];
  for (const extra of extras) {
    const adapter = await requestAdapter(gpuApi, options);
    if (!adapter) break;
    const requiredLimits: Record<string, number> = {};
    for (const name of RAISED_LIMITS) {
      requiredLimits[name] = adapter.limits[name];
    }
    // A workgroup in one dimension may then be as large as a workgroup may be at all.
    requiredLimits.maxComputeWorkgroupSizeX = adapter.limits.maxComputeWorkgroupSizeX;
    try {
      const gpu = await adapter.requestDevice({
        requiredFeatures: [...OPTIONAL_FEATURES.filter((f) => adapter.features.has(f)), ...extra],
        requiredLimits,
      });
      return { gpu, adapter };
    } catch (error) {
      failure = `${adapterName(adapter.info)} gives no device: ${error}`;
    }
  }
  throw new GpuUnavailableError(`No GPU is available: ${failure}.\n${remedy()}`);
}

async function requestAdapter(gpuApi: GPU, options: DeviceOptions): Promise<GPUAdapter | null> {
  const powerPreference = options.powerPreference ?? "high-performance";
  const forceFallbackAdapter = options.forceFallbackAdapter ?? false;
  const adapter = await gpuApi.requestAdapter({ powerPreference, forceFallbackAdapter });
  if (adapter || forceFallbackAdapter) return adapter;
  // Browsers give an adapter that computes on the CPU only to those who ask for it.
  return await gpuApi.requestAdapter({ powerPreference, forceFallbackAdapter: true });
}

/** WebGPU grants no limits below its own defaults, so lower ones are ours alone to keep. */
function lowered(granted: DeviceLimits, wanted: Partial<DeviceLimits>): DeviceLimits {
  const entries = RAISED_LIMITS.map((name) =>
    [name, Math.min(granted[name], wanted[name] ?? Infinity)] as const
  );
  return Object.fromEntries(entries) as Record<keyof DeviceLimits, number>;
}

/** Deno's compiler refuses `enable subgroups;`, browsers demand it. */
async function subgroupDirective(gpu: GPUDevice): Promise<string> {
  if (!gpu.features.has("subgroups")) return "";
  const directive = "enable subgroups;\n";
  gpu.pushErrorScope("validation");
  gpu.createShaderModule({ label: "probe_directive", code: directive });
  return await gpu.popErrorScope() ? "" : directive;
}

async function probedSubgroupSize(runtime: Runtime): Promise<number> {
  try {
    return await subgroupSize(runtime);
  } catch (error) {
    // A driver that grants subgroups but cannot compile them is one without.
    if (error instanceof ShaderCompileError || error instanceof GpuValidationError) return 0;
    throw error;
  }
}

function remedy(): string {
  const { Deno } = globalThis as { Deno?: { build: { os: string } } };
  return adapterRemedy(Deno?.build.os ?? "browser");
}
