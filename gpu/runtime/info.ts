/** What a device is and what it was granted. */

/** The limits that decide what fits, as granted by the device. */
export interface DeviceLimits {
  /** Largest buffer, in bytes. */
  readonly maxBufferSize: number;
  /** Largest part of a buffer that a kernel can see, in bytes. */
  readonly maxStorageBufferBindingSize: number;
  /** Buffers that one kernel can use. */
  readonly maxStorageBuffersPerShaderStage: number;
  /** Workgroup memory of one kernel, in bytes. */
  readonly maxComputeWorkgroupStorageSize: number;
  /** Threads in a workgroup. */
  readonly maxComputeInvocationsPerWorkgroup: number;
  /** Workgroups along one dimension of a dispatch. */
  readonly maxComputeWorkgroupsPerDimension: number;
}

/** `device.info`. */
export interface DeviceInfo {
  /** The adapter's own description, as in `NVIDIA H100` or `llvmpipe (LLVM 15.0.6, 256 bits)`;
   * browsers tell no more than the maker and the architecture, as in `google swiftshader`. */
  readonly adapter: string;
  /** Who makes it, as in `NVIDIA`. */
  readonly vendor: string;
  /** The adapter's architecture, where the runtime tells. */
  readonly architecture: string;
  /** Whether it computes on the CPU. */
  readonly isFallback: boolean;
  /** What runs this code, as in `Deno 2.9.6` or `Chrome 156`. */
  readonly runtime: string;
  /**
   * Lanes of a subgroup that kernels can rely on, found by a test at start-up; 0 where kernels must
   * do without subgroups.
   */
  readonly subgroupSize: number;
  /** Whether kernels may compute in 16-bit floats. */
  readonly f16: boolean;
  /** Whether profiles can tell time on the GPU. */
  readonly timestamps: boolean;
  /** The limits granted. */
  readonly limits: DeviceLimits;
}

/** The limits that we ask for at the adapter's own height. */
export const RAISED_LIMITS = [
  "maxBufferSize",
  "maxStorageBufferBindingSize",
  "maxStorageBuffersPerShaderStage",
  "maxComputeWorkgroupStorageSize",
  "maxComputeInvocationsPerWorkgroup",
  "maxComputeWorkgroupsPerDimension",
] as const satisfies readonly (keyof DeviceLimits)[];

/**
 * What kernels take for granted: WebGPU grants no device less. What is larger than the other limits is cut, or
 * refused.
 */
export const LEAST_LIMITS: Partial<DeviceLimits> = {
  maxStorageBuffersPerShaderStage: 8,
  maxComputeWorkgroupStorageSize: 16_384,
  maxComputeInvocationsPerWorkgroup: 256,
};

/** PCI and Khronos vendor numbers; native runtimes give these where browsers give names. */
const VENDORS: Readonly<Record<number, string>> = {
  0x1002: "AMD",
  0x1010: "Imagination",
  0x106b: "Apple",
  0x10de: "NVIDIA",
  0x13b5: "Arm",
  0x1414: "Microsoft",
  0x1ae0: "Google",
  0x5143: "Qualcomm",
  0x8086: "Intel",
  0x10005: "Mesa",
};

/** A vendor's name from its number; any other text unchanged. */
export function vendorName(vendor: string): string {
  return VENDORS[Number(vendor)] ?? vendor;
}

/** What tells browsers apart in `navigator.userAgent`; those whose word others add to theirs come last. */
const BROWSERS: readonly (readonly [name: string, version: RegExp])[] = [
  ["Edge", /\bEdg\/(\d+)/],
  ["Firefox", /\bFirefox\/(\d+)/],
  ["Chrome", /(?:\b|Headless)Chrome\/(\d+)/],
  ["Safari", /\bVersion\/(\d+\.\d+).* Safari\//],
];

/** The adapter's description, else what else it says about itself. */
export function adapterName({ description, device, vendor, architecture }: GPUAdapterInfo): string {
  return description || device || [vendorName(vendor), architecture].filter(Boolean).join(" ") ||
    "unnamed adapter";
}

/** A browser's name and version from its user agent; any other text unchanged. */
export function browserName(userAgent: string): string {
  for (const [name, pattern] of BROWSERS) {
    const version = pattern.exec(userAgent)?.[1];
    if (version) return `${name} ${version}`;
  }
  return userAgent;
}

/** The name and version of the JavaScript runtime. */
export function runtimeName(): string {
  const { Deno, process, navigator } = globalThis as {
    Deno?: { version: { deno: string } };
    process?: { versions?: { node?: string } };
    navigator?: { userAgent?: string };
  };
  if (Deno) return `Deno ${Deno.version.deno}`;
  if (process?.versions?.node) return `Node ${process.versions.node}`;
  return browserName(navigator?.userAgent ?? "an unknown runtime");
}

/** Copies the limits out of the live object. */
export function readLimits(limits: GPUSupportedLimits): DeviceLimits {
  const {
    maxBufferSize,
    maxStorageBufferBindingSize,
    maxStorageBuffersPerShaderStage,
    maxComputeWorkgroupStorageSize,
    maxComputeInvocationsPerWorkgroup,
    maxComputeWorkgroupsPerDimension,
  } = limits;
  return {
    maxBufferSize,
    maxStorageBufferBindingSize,
    maxStorageBuffersPerShaderStage,
    maxComputeWorkgroupStorageSize,
    maxComputeInvocationsPerWorkgroup,
    maxComputeWorkgroupsPerDimension,
  };
}
