/** The training as text. */
import type { DeviceInfo, MemoryStats } from "@denoformers/attention";
import { SIDE } from "./data.ts";
import type { EpochResult, Progress } from "./loop.ts";
import { SIZES } from "./model.ts";
import type { RunOptions } from "./options.ts";

/** Held-out accuracy that the default run must reach. */
export const GOAL = 0.95;

/** What is known before the first step. */
export interface Beginning {
  /** Where it runs. */
  readonly device: DeviceInfo;
  /** What it depends on. */
  readonly options: RunOptions;
  /** Digits to learn from, held-out digits, and numbers that are learnt. */
  readonly counts: {
    readonly training: number;
    readonly heldOut: number;
    readonly parameters: number;
  };
  /** Where checkpoints go. */
  readonly checkpoint: string;
}

/** Width of a column of the table. */
const WIDTH = 11;

/** The lines above the table, and its head. */
export function formatBeginning({ device, options, counts, checkpoint }: Beginning): string {
  const { patch, dim, depth, heads } = SIZES;
  return [
    `Handwritten digits: ${counts.training} to learn from, ${counts.heldOut} held out, seed ${options.seed}`,
    `  adapter     ${device.adapter}${device.isFallback ? ", computes on the CPU" : ""}`,
    `  model       ${
      (SIDE / patch) ** 2
    } patches of ${patch} x ${patch} pixels, ${depth} blocks of ` +
    `dim ${dim} with ${heads} heads, ${counts.parameters} parameters`,
    `  attention   ${options.attention}`,
    `  checkpoint  ${checkpoint}, after each epoch`,
    "",
    tableRow(["epoch", "loss", "accuracy", "held out", "seconds"]),
  ].join("\n");
}

/** A row of the table; `epoch` counts from 1. */
export function formatEpoch(epoch: number, result: EpochResult): string {
  const { loss, accuracy, heldOutAccuracy, seconds } = result;
  return tableRow([
    `${epoch}`,
    loss.toFixed(4),
    formatPercent(accuracy),
    formatPercent(heldOutAccuracy),
    seconds.toFixed(1),
  ]);
}

/** The lines behind the table of a training that is over. */
export function formatEnd({ epochs }: Progress, memory: MemoryStats, checkpoint: string): string {
  const last = epochs.at(-1)?.heldOutAccuracy ?? NaN;
  const best = Math.max(...epochs.map(({ heldOutAccuracy }) => heldOutAccuracy));
  const seconds = epochs.reduce((sum, epoch) => sum + epoch.seconds, 0);
  return [
    "",
    `Held-out digits classed right: ${formatPercent(last)}, the goal of ${
      formatPercent(GOAL)
    } is ` +
    (last >= GOAL ? "reached" : "not reached"),
    `  best epoch   ${formatPercent(best)}`,
    `  time         ${seconds.toFixed(1)} s`,
    `  peak memory  ${(memory.peakBytes / 2 ** 20).toFixed(1)} MiB on the device`,
    `  written to   ${checkpoint}`,
  ].join("\n");
}

/** What an interrupted training leaves. */
export function formatInterruption({ epochs, step }: Progress, checkpoint: string): string {
  return `Interrupted in epoch ${
    epochs.length + 1
  }, after ${step} of its steps; go on with\n\n  deno task train --resume ${checkpoint}`;
}

/** A part of 1 as text. */
export function formatPercent(part: number): string {
  return `${(100 * part).toFixed(1)} %`;
}

function tableRow(cells: readonly string[]): string {
  return cells.map((cell, column) => cell.padStart(column === 0 ? 7 : WIDTH)).join("");
}
