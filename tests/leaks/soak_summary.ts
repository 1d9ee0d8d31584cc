/** What a soak found: samples of the process on the way, and the verdict at the end. */

/** The state at one time. */
export interface Sample {
  /** Since the begin. */
  readonly minutes: number;
  /** Operations done. */
  readonly calls: number;
  /** Errors of the library that were provoked and caught. */
  readonly faults: number;
  /** Devices that were opened and disposed, besides the one of the whole soak. */
  readonly devices: number;
  /** `device.memory()`, between rounds: all is disposed. */
  readonly allocatedBytes: number;
  readonly reservedBytes: number;
  /** Bytes of the process. */
  readonly rss: number;
}

/** The end of a soak. */
export interface Summary {
  readonly adapter: string;
  readonly seed: number;
  readonly minutes: number;
  readonly calls: number;
  readonly faults: number;
  readonly devices: number;
  /** Bytes of tensors alive at the end beyond those at the begin. */
  readonly leakedBytes: number;
  /** Bytes of the process at the end. */
  readonly rss: number;
  /** Growth of the process over the second half, in bytes a minute; `undefined` if that is too short to tell. */
  readonly rssSlope: number | undefined;
  /** What is wrong; empty if nothing is. */
  readonly problems: readonly string[];
}

const MIB = 2 ** 20;

/** Shorter halves say nothing of growth: kernels are being compiled, and heaps find their size. */
const LEAST_HALF_MINUTES = 10;

/**
 * Bytes a minute that the process may grow. Drivers that compute on the CPU keep what they compiled, and every new
 * device compiles anew: lavapipe grew by 10 MiB a minute, with 13 devices. A GPU's driver (NVIDIA H200) stayed level.
 */
const MOST_SLOPE = 16 * MIB;

/** The straight line through the process's size by time: its slope in bytes a minute (least squares). */
export function slopeOf(samples: readonly Pick<Sample, "minutes" | "rss">[]): number {
  const mean = (list: number[]) => list.reduce((a, b) => a + b, 0) / list.length;
  const time = mean(samples.map(({ minutes }) => minutes));
  const size = mean(samples.map(({ rss }) => rss));
  const products = samples.map(({ minutes, rss }) => (minutes - time) * (rss - size));
  return mean(products) / mean(samples.map(({ minutes }) => (minutes - time) ** 2));
}

/**
 * Sums a soak up.
 *
 * @param run Adapter, seed, and what went wrong on the way.
 * @param samples From the first, before anything was done, to the last, when all was disposed.
 */
export function summarize(
  run: { readonly adapter: string; readonly seed: number; readonly problems: readonly string[] },
  samples: readonly Sample[],
): Summary {
  const [first, last] = [samples[0]!, samples.at(-1)!];
  const half = samples.filter(({ minutes }) => minutes >= last.minutes / 2);
  const isLong = last.minutes / 2 >= LEAST_HALF_MINUTES && half.length > 2;
  const rssSlope = isLong ? slopeOf(half) : undefined;
  const leakedBytes = last.allocatedBytes - first.allocatedBytes;
  const problems = [...run.problems];
  if (leakedBytes !== 0) problems.push(`${leakedBytes} bytes leaked`);
  if (rssSlope !== undefined && rssSlope > MOST_SLOPE) {
    problems.push(
      `the process grew by ${(rssSlope / MIB).toFixed(1)} MiB a minute, expected at most ${
        MOST_SLOPE / MIB
      }`,
    );
  }
  const { minutes, calls, faults, devices, rss } = last;
  return { ...run, minutes, calls, faults, devices, leakedBytes, rss, rssSlope, problems };
}

/** A line for the time between. */
export function formatSample(sample: Sample): string {
  const { minutes, calls, faults, devices, allocatedBytes, reservedBytes, rss } = sample;
  return `${minutes.toFixed(2).padStart(6)} min ${`${calls}`.padStart(8)} calls ` +
    `${`${faults}`.padStart(6)} faults ${
      `${devices}`.padStart(4)
    } devices   live ${allocatedBytes} bytes   ` +
    `reserved ${(reservedBytes / MIB).toFixed(2)} MiB   process ${(rss / MIB).toFixed(0)} MiB`;
}

/** The lines at the end. */
export function formatSummary(summary: Summary): string {
  const { adapter, seed, minutes, calls, faults, devices, leakedBytes, rssSlope, problems } =
    summary;
  const slope = rssSlope === undefined
    ? "too short to tell"
    : `${(rssSlope / MIB).toFixed(2)} MiB a minute over the second half`;
  return [
    `Soaked for ${minutes.toFixed(1)} minutes on ${adapter}, seed ${seed}`,
    `  calls            ${calls}`,
    `  faults survived  ${faults}`,
    `  devices          ${devices}`,
    `  bytes leaked     ${leakedBytes}`,
    `  process growth   ${slope}`,
    problems.length === 0 ? "Nothing is wrong" : `WRONG: ${problems.join("; ")}`,
  ].join("\n");
}
