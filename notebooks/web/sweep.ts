/** The sweep: both ways at growing lengths, one point after the other. */
import { type Device, GpuOutOfMemoryError } from "@denoformers/attention";
import { formulaRefusals, measurePoint } from "./measure.ts";
import {
  type Measured,
  measuredOf,
  type NotRun,
  type Point,
  predict,
  type Way,
  WAYS,
} from "./points.ts";
import { lengthsUpTo, type Settings, SHORTEST } from "./settings.ts";
import { formatBytes, formatDuration } from "./text.ts";

/** A run that would take longer is left out: the page's picture waits for the same GPU. */
const MAX_MS = 1000;
/** Up to this length runs are never left out, since exponents need three points. */
const ALWAYS_RUN = 4 * SHORTEST;

/** What happens in a sweep. */
export type SweepEvent =
  | { readonly kind: "measuring"; readonly way: Way; readonly tokens: number }
  | { readonly kind: "point"; readonly points: readonly Point[] };

/** Options of {@linkcode sweep}. */
export interface SweepOptions {
  /** Ends it between two runs: the generator then throws the signal's reason. */
  readonly signal: AbortSignal;
  /** What measures a point. */
  readonly measure?: typeof measurePoint;
}

/** How many points a sweep has. */
export function pointCount({ longest }: Settings): number {
  return WAYS.length * lengthsUpTo(longest).length;
}

/**
 * Measures both ways at each length. What the device refuses, and what would take too much time or memory, is
 * a point too, that says why.
 *
 * @param device Where.
 * @param settings What.
 * @param options When to end.
 * @returns Events: each point is announced, then comes with all points before it.
 * @throws {DeviceLostError} If the device goes away meanwhile.
 */
export async function* sweep(
  device: Device,
  settings: Settings,
  { signal, measure = measurePoint }: SweepOptions,
): AsyncGenerator<SweepEvent, void> {
  const points: Point[] = [];
  for (const tokens of lengthsUpTo(settings.longest)) {
    for (const way of WAYS) {
      yield { kind: "measuring", way, tokens };
      // Shows what was announced, and takes clicks, before the page's only thread is busy again.
      await new Promise((resolve) => setTimeout(resolve));
      signal.throwIfAborted();
      const last = points.findLast((point) => point.way === way);
      const measuredLast = measuredOf(points, way).at(-1);
      const objection = objectionTo(device, { way, tokens, settings }, last, measuredLast);
      points.push(objection ?? await attempt(device, { way, tokens, settings, signal }, measure));
      yield { kind: "point", points: [...points] };
    }
  }
}

type Plan = { readonly way: Way; readonly tokens: number; readonly settings: Settings };

/** Why not to try; undefined where there is nothing against it. */
function objectionTo(
  device: Device,
  { way, tokens, settings }: Plan,
  last: Point | undefined,
  measured: Measured | undefined,
): NotRun | undefined {
  // What is too long stays so.
  if (last?.kind === "refused") return { ...last, tokens };
  if (way === "formula") {
    const [message] = formulaRefusals(device, { tokens, settings });
    if (message !== undefined) {
      return { kind: "refused", way, tokens, note: "refused by the device's limits", message };
    }
  }
  if (!measured || tokens <= ALWAYS_RUN) return undefined;
  const skipped = (what: string): NotRun => (
    { kind: "skipped", way, tokens, note: `would take about ${what}` }
  );
  const bytes = predict(measured, tokens, "peakBytes", settings);
  if (bytes > settings.budget) return skipped(formatBytes(bytes));
  const milliseconds = predict(measured, tokens, "milliseconds", settings);
  return milliseconds > MAX_MS ? skipped(formatDuration(milliseconds)) : undefined;
}

async function attempt(
  device: Device,
  work: Plan & { readonly signal: AbortSignal },
  measure: typeof measurePoint,
): Promise<Point> {
  const { way, tokens } = work;
  try {
    return await measure(device, work);
  } catch (error) {
    // Limits that shapes alone do not tell, and memory that others use.
    if (error instanceof GpuOutOfMemoryError) {
      return { kind: "refused", way, tokens, note: "out of memory", message: error.message };
    }
    if (error instanceof RangeError) {
      const { message } = error;
      return { kind: "refused", way, tokens, note: "refused by the device's limits", message };
    }
    throw error;
  } finally {
    // The next length takes other sizes.
    device.emptyCache();
  }
}
