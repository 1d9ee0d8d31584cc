/** What the adapter can do at best, by timestamps: multiply-adds in a second, bytes copied in a second. */
import {
  COPIES_OF_A_THREAD,
  copySource,
  flopsPerTurn,
  type FmaForm,
  fmaForms,
  fmaSource,
  WORKGROUP_SIZE,
} from "./ceiling_kernels.ts";
import { StopwatchDevice, type StopwatchKernel } from "./stopwatch_device.ts";

/** The best of several forms. */
export interface Ceiling {
  /** TFLOP/s, a multiply-add counted as two; or GB/s, a byte copied counted as two: read and written. */
  readonly rate: number;
  /** Which form reached it. */
  readonly form: string;
}

/** The ceilings of one adapter. */
export interface Ceilings {
  /** Multiply-adds of f32, in TFLOP/s. */
  readonly f32: Ceiling;
  /** Multiply-adds of f16, in TFLOP/s; null where kernels may not compute in f16. */
  readonly f16: Ceiling | null;
  /** Copying from buffer to buffer by a kernel, in GB/s. */
  readonly copy: Ceiling;
}

/** Workgroups of the arithmetic kernel: several waves of them on the largest GPUs of today. */
const WORKGROUPS = { cpu: 256, gpu: 4096 };

/** Turns of the first look at a form: as many as a workgroup's start takes little time beside. */
const FIRST_TURNS = 16;

/** A dispatch this long is timed well, and a GPU has its clocks up by then. */
const MIN_MILLISECONDS = 25;

/** Timed dispatches; the fastest counts, since whatever else runs only makes it slower. */
const REPEATS = { first: 2, last: 6 };

/** Bytes to copy, well beyond caches, where the limits allow it. A CPU has less to copy with. */
const COPY_BYTES = { cpu: 128 * 2 ** 20, gpu: 1024 * 2 ** 20 };

/**
 * Measures the ceilings on a device of its own.
 *
 * @param progress Is told what is measured next, and the share of all that is done.
 * @returns The ceilings; null where the adapter has no timestamps.
 */
export async function measureCeilings(
  progress: (what: string, share: number) => void = () => {},
): Promise<Ceilings | null> {
  using device = await StopwatchDevice.request();
  if (!device) return null;
  progress("f32 multiply-adds", 0);
  const f32 = await fmaCeiling(device, fmaForms("f32"));
  progress("f16 multiply-adds", 1 / 3);
  const f16 = device.f16 ? await fmaCeiling(device, fmaForms("f16")) : null;
  progress("copy", 2 / 3);
  const copy = await copyCeiling(device);
  return { f32, f16, copy };
}

/** Looks at every form, then times the best one for longer. */
async function fmaCeiling(device: StopwatchDevice, forms: readonly FmaForm[]): Promise<Ceiling> {
  const results = device.buffer(4 * threadsOf(device));
  let best: { form: FmaForm; kernel: StopwatchKernel; rate: number } | undefined;
  try {
    for (const form of forms) {
      const kernel = device.compile(fmaSource(form), ["storage", "uniform"]);
      const rate = (turns: number, repeats: number) =>
        fmaRate(device, { form, kernel, results, turns }, repeats);
      let turns = FIRST_TURNS;
      // The first dispatch compiles.
      const milliseconds = flopsOf(device, form, turns) / await rate(turns, 1) / 1e9;
      turns = Math.max(turns, Math.ceil(turns * MIN_MILLISECONDS / milliseconds));
      const found = await rate(turns, REPEATS.first);
      if (found > (best?.rate ?? 0)) best = { form, kernel, rate: found };
    }
    const { form, kernel, rate } = best!;
    const milliseconds = flopsOf(device, form, FIRST_TURNS) / rate / 1e9;
    const turns = Math.ceil(FIRST_TURNS * Math.max(4, MIN_MILLISECONDS / milliseconds));
    const last = await fmaRate(device, { form, kernel, results, turns }, REPEATS.last);
    return { rate: Math.max(rate, last), form: form.name };
  } finally {
    results.destroy();
  }
}

/** One kernel, and how long its loop is. */
interface FmaRun {
  readonly form: FmaForm;
  readonly kernel: StopwatchKernel;
  readonly results: GPUBuffer;
  readonly turns: number;
}

/** TFLOP/s of one form. */
async function fmaRate(
  device: StopwatchDevice,
  { form, kernel, results, turns }: FmaRun,
  repeats: number,
): Promise<number> {
  const params = new DataView(new ArrayBuffer(16));
  params.setUint32(0, turns, true);
  // Sums tend to 1e-3 / (1 - 0.5), which halves hold as well; nothing ever becomes subnormal.
  params.setFloat32(4, 0.5, true);
  params.setFloat32(8, 1e-3, true);
  using uniforms = device.uniforms(params.buffer);
  let best = Infinity;
  for (let i = 0; i < repeats; i++) {
    best = Math.min(
      best,
      await device.time(kernel, [results, uniforms], [threadsOf(device) / WORKGROUP_SIZE, 1]),
    );
  }
  return flopsOf(device, form, turns) / best / 1e9;
}

function threadsOf({ isFallback }: StopwatchDevice): number {
  return WORKGROUP_SIZE * (isFallback ? WORKGROUPS.cpu : WORKGROUPS.gpu);
}

function flopsOf(device: StopwatchDevice, form: FmaForm, turns: number): number {
  return flopsPerTurn(form) * turns * threadsOf(device);
}

async function copyCeiling(device: StopwatchDevice): Promise<Ceiling> {
  let best: Ceiling = { rate: 0, form: "none" };
  for (const each of COPIES_OF_A_THREAD) {
    const rate = await copyRate(device, each);
    if (rate > best.rate) best = { rate, form: `${each} x vec4<f32>` };
  }
  return best;
}

/** GB/s read and written. */
async function copyRate(device: StopwatchDevice, each: number): Promise<number> {
  const wanted = Math.min(device.isFallback ? COPY_BYTES.cpu : COPY_BYTES.gpu, device.maxBytes);
  const bytesPerGroup = 16 * each * WORKGROUP_SIZE;
  const groups = Math.floor(wanted / bytesPerGroup);
  // Two dimensions, since one has at most 65,535 workgroups.
  const x = Math.min(groups, 32_768);
  const y = Math.floor(groups / x);
  const bytes = x * y * bytesPerGroup;
  const kernel = device.compile(copySource(each), ["storage", "read-only-storage"]);
  const [source, copied] = [device.buffer(bytes), device.buffer(bytes)];
  try {
    let best = Infinity;
    for (let i = 0; i < REPEATS.last; i++) {
      best = Math.min(best, await device.time(kernel, [copied, source], [x, y]));
    }
    return 2 * bytes / best / 1e6;
  } finally {
    source.destroy();
    copied.destroy();
  }
}
