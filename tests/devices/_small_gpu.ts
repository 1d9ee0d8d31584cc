/** Adapters that are smaller than the one at hand, as the library sees them. */

/** The least that WebGPU lets an adapter have, of what the library asks for. */
export const WEBGPU_MINIMUM = {
  maxBufferSize: 256 * 2 ** 20,
  maxStorageBufferBindingSize: 128 * 2 ** 20,
  maxStorageBuffersPerShaderStage: 8,
  maxComputeWorkgroupStorageSize: 16_384,
  maxComputeInvocationsPerWorkgroup: 256,
  maxComputeWorkgroupSizeX: 256,
  maxComputeWorkgroupsPerDimension: 65_535,
} as const;

/** What an adapter is to be. */
export interface SmallAdapter {
  /** Its limits. The device is requested with no more, so that the runtime checks them too, where it does. */
  readonly limits: Readonly<Record<keyof typeof WEBGPU_MINIMUM, number>>;
  /** Whether it has 16-bit floats. */
  readonly f16: boolean;
  /** Whether it grants subgroups. */
  readonly subgroups: boolean;
}

/** Runs a function while `navigator.gpu` gives a smaller adapter. Devices stay usable afterwards. */
export async function withAdapter<T>(
  { limits, f16, subgroups }: SmallAdapter,
  fn: () => Promise<T>,
): Promise<T> {
  const real = navigator.gpu;
  const requestAdapter = async (options?: GPURequestAdapterOptions) => {
    const adapter = await real.requestAdapter(options);
    if (!adapter) return null;
    const features = new Set([...adapter.features].filter((name) => name !== "shader-f16" || f16));
    return {
      info: adapter.info,
      limits,
      features,
      requestDevice(descriptor: GPUDeviceDescriptor): Promise<GPUDevice> {
        const wanted = [...descriptor.requiredFeatures ?? []] as string[];
        const refused = wanted.filter((name) => name === "subgroups" && !subgroups);
        if (refused.length > 0) return Promise.reject(new TypeError(`no ${refused}`));
        return adapter.requestDevice(descriptor);
      },
    };
  };
  Object.defineProperty(navigator, "gpu", { value: { requestAdapter }, configurable: true });
  try {
    return await fn();
  } finally {
    Reflect.deleteProperty(navigator, "gpu");
  }
}
