/** Which cases run, at which sizes, and how they are called. */
import { allCases, type Case } from "./cases.ts";

/** A case as it runs here. */
export interface ChosenCase extends Case {
  /** Unique among the chosen: set, sizes, element type, variant, pass. */
  readonly name: string;
  /** Its name at the sizes that GPUs get; equal to `name` where nothing was reduced. */
  readonly fullName: string;
}

/** What the command line says about cases. */
export interface Choice {
  /** Only a few of each set. */
  readonly quick: boolean;
  /** Only cases whose name contains this. */
  readonly only: string;
  /** Whether the adapter computes on the CPU. */
  readonly cpu: boolean;
}

/** Forward operations that a CPU is given at most, in a case that no wanted figure is about. */
export const CPU_FLOPS = 1e9;

/** The chosen cases, in order, none of them twice. */
export function chooseCases({ quick, only, cpu }: Choice): ChosenCase[] {
  const chosen = allCases()
    .filter((found) => (!quick || found.quick) && !(cpu && found.gpuOnly))
    .map((found) => {
      const here = cpu ? reducedForCpu(found) : found;
      return { ...here, name: nameOf(here), fullName: nameOf(found) };
    })
    .filter(({ name }) => name.includes(only));
  return [...new Map(chosen.map((found) => [found.name, found] as const)).values()];
}

/**
 * The one rule for CPUs: the batch is halved until {@linkcode CPU_FLOPS} are kept or one sequence is left, then
 * the heads likewise (those of keys with them), then the lengths. Cases of the set "must" keep their sizes.
 */
export function reducedForCpu(found: Case): Case {
  let { B, Mq, Mkv, H, Hkv } = found;
  const isTooMuch = () => 4 * B * Mq * Mkv * H * found.K > CPU_FLOPS;
  if (found.set === "must") return found;
  while (isTooMuch() && B > 1) B = Math.ceil(B / 2);
  while (isTooMuch() && H > 1) {
    const group = H / Hkv;
    if (Hkv > 1) {
      Hkv = Math.ceil(Hkv / 2);
      H = Hkv * group;
    } else {
      H = Math.ceil(H / 2);
    }
  }
  while (isTooMuch() && Mkv > 1) {
    Mq = Math.ceil(Mq / 2);
    Mkv = Math.ceil(Mkv / 2);
  }
  return { ...found, B, Mq, Mkv, H, Hkv };
}

/** As in `vision [384, 197, 1, 88] f16 dropout, training`. */
export function nameOf({ set, B, Mq, Mkv, H, Hkv, K, dtype, variant, pass }: Case): string {
  const keys = Mq === Mkv && H === Hkv ? "" : ` x [${B}, ${Mkv}, ${Hkv}, ${K}]`;
  const term = variant === "none" ? "" : ` ${variant}`;
  return `${set} [${B}, ${Mq}, ${H}, ${K}]${keys} ${dtype}${term}, ${pass}`;
}
