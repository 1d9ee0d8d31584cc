/** What ops may have against inputs. */
import type { AttentionInputs } from "../inputs.ts";
import { largestHeadDim } from "../kernels/tile_config.ts";

/** Head dims that are too large. */
export function headDimReasons({ sizes: { K, Kv }, runtime }: AttentionInputs): string[] {
  const largest = largestHeadDim(runtime.info.subgroupSize);
  return Object.entries({ K, Kv }).filter(([, dim]) => dim > largest)
    .map(([letter, dim]) => `head dim ${letter} = ${dim} > ${largest}`);
}

/** Tiles that the device has no workgroup memory for. Deno does not check this, and results would be wrong. */
export function workgroupMemoryReasons({ runtime }: AttentionInputs, bytes: number): string[] {
  const limit = runtime.info.limits.maxComputeWorkgroupStorageSize;
  return bytes <= limit ? [] : [
    `its tiles take ${bytes} bytes of workgroup memory > ${limit}, the device's ` +
    "maxComputeWorkgroupStorageSize",
  ];
}

/**
 * Operands that are larger than a kernel can see of a buffer.
 *
 * @param canCut Whether the op cuts its work until what each launch sees fits.
 */
export function bindingReasons(inputs: AttentionInputs, { canCut }: { canCut: boolean }): string[] {
  const { runtime, query, key, value, bias, mask } = inputs;
  const limit = runtime.info.limits.maxStorageBufferBindingSize;
  const reasons: string[] = [];
  for (const [name, array] of Object.entries({ query, key, value, bias })) {
    if (!array || array.storage.buffer.size <= limit) continue;
    const isScattered = mask.pages !== undefined && (name === "key" || name === "value");
    if (canCut && !isScattered) continue;
    reasons.push(
      `${name} lies in a buffer of ${array.storage.buffer.size} bytes > ${limit}, the device's ` +
        `maxStorageBufferBindingSize${
          isScattered ? "; pages cannot be cut, use several pools" : ""
        }`,
    );
  }
  return reasons;
}
