/** The ops that a device has, for tests that go through all. */
import {
  ALL_FORWARD_OPS,
  type AttentionForwardOp,
  type Device,
  ShuffleForwardOp,
} from "@denoformers/attention";

/** All forward ops but those that this adapter has no subgroups for. */
export function forwardOpsOn(device: Device): readonly AttentionForwardOp[] {
  return ALL_FORWARD_OPS.filter((op) => op !== ShuffleForwardOp || hasShuffles(device));
}

/** Name of the kernel that is the fixed choice where there are more rows than splitKF takes. */
export function usualKernelOn(device: Device): string {
  return hasShuffles(device) ? "shuffle_forward" : "flash_forward";
}

function hasShuffles(device: Device): boolean {
  using probe = device.zeros([1, 1, 1, 8]);
  return ShuffleForwardOp.notSupportedReasons(probe, probe, probe).length === 0;
}
