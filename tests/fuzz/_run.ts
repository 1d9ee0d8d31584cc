/** Runs families of random calls, in batches, and says what came of them. */
import type { Device } from "@denoformers/attention";
import fc from "fast-check";
import type { AnyFamily } from "./_family.ts";
import { Scope } from "./_scope.ts";
import { assertDeviceWorks } from "./_sentinel.ts";

/** How much to run. */
export interface RunPlan {
  /** Cases in all; families share them by weight. */
  readonly cases: number;
  /** What is drawn follows from it: a whole number below 2^31. */
  readonly seed: number;
  /** Cases for which one choice of kernels is kept. */
  readonly batch: number;
  /** How many kernels to choose from in a batch, as a factor. */
  readonly breadth: number;
  /** When to begin no other batch, as `performance.now()` counts. */
  readonly deadline?: number;
}

/** What came of one family. */
export interface FamilyResult {
  readonly family: string;
  /** Cases that were tried, those of shrinking not counted. */
  readonly cases: number;
  readonly seconds: number;
  readonly failures: readonly Failure[];
}

/** A case that went wrong. */
export interface Failure {
  readonly family: string;
  /** The smallest case found, as an expression of JavaScript. */
  readonly shrunk: string;
  /** How many steps smaller it is than the one drawn. */
  readonly shrinks: number;
  readonly error: string;
}

/** Failures of one family after which no more of it is run: they are seldom as many bugs. */
const MAX_FAILURES = 5;

/** Cases between two looks at whether the device still computes. */
const SENTINEL_EVERY = 50;

/** How long to look for a smaller case, in milliseconds. */
const SHRINK_TIME = 60_000;

/** Runs a family's share of the cases. */
export async function runFamily(
  device: Device,
  family: AnyFamily,
  cases: number,
  plan: RunPlan,
): Promise<FamilyResult> {
  const begin = performance.now();
  const failures: Failure[] = [];
  let done = 0;
  for (let batch = 0; done < cases && failures.length < MAX_FAILURES; batch++) {
    if (performance.now() > (plan.deadline ?? Infinity)) break;
    // Families do not see each other's numbers, and neither do batches.
    const seed = (plan.seed + Math.imul(batch, 0x9e3779b1) + hash(family.name)) | 0;
    const numRuns = Math.min(plan.batch, cases - done);
    const { ran, failure } = await runBatch(device, family, { ...plan, seed, numRuns });
    done += ran;
    if (failure) failures.push(failure);
  }
  return {
    family: family.name,
    cases: done,
    seconds: (performance.now() - begin) / 1000,
    failures,
  };
}

/** How many cases of each family make up a number in all. */
export function sharesOf(families: readonly AnyFamily[], cases: number): number[] {
  const total = families.reduce((sum, { weight }) => sum + weight, 0);
  return families.map(({ weight }) => Math.max(1, Math.round(cases * weight / total)));
}

interface Batch {
  readonly seed: number;
  readonly numRuns: number;
  readonly breadth: number;
}

async function runBatch(
  device: Device,
  family: AnyFamily,
  { seed, numRuns, breadth }: Batch,
): Promise<{ ran: number; failure?: Failure }> {
  let ran = 0;
  let shrinkEnd = Infinity;
  const property = fc.asyncProperty(family.cases(new Scope(seed, breadth)), async (drawn) => {
    if (performance.now() > shrinkEnd) return;
    try {
      await checkCase(device, family, drawn);
    } catch (error) {
      shrinkEnd = Math.min(shrinkEnd, performance.now() + SHRINK_TIME);
      throw error;
    }
    if (++ran % SENTINEL_EVERY === 0) await assertDeviceWorks(device);
  });
  const details = await fc.check(property, { seed, numRuns });
  await assertDeviceWorks(device);
  if (!details.failed) return { ran: details.numRuns };
  return {
    ran: details.numRuns,
    failure: {
      family: family.name,
      shrunk: fc.stringify(details.counterexample![0]),
      shrinks: details.numShrinks,
      error: describe(details.errorInstance),
    },
  };
}

/** Tries one case: what it does must be right, and leave nothing behind. */
export async function checkCase(device: Device, family: AnyFamily, drawn: unknown): Promise<void> {
  const { tensors } = device.memory();
  await family.check(device, drawn);
  const left = device.memory().tensors - tensors;
  // Garbage of earlier cases may be collected meanwhile.
  if (left > 0) throw new Error(`${left} tensors are left behind`);
}

function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const cause = error.cause instanceof Error ? `\n  caused by ${error.cause.stack}` : "";
  return `${error.name}: ${error.message}${cause}`;
}

function hash(text: string): number {
  return [...text].reduce((sum, letter) => Math.imul(sum, 31) + letter.charCodeAt(0), 7);
}
