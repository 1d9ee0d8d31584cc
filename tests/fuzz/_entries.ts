/** Public functions, each with arguments that are right, and of what kind each of these is. */
import { ATTENTION, MASKS } from "./_entries_attention.ts";
import { LAYERS } from "./_entries_layers.ts";
import { ARITHMETIC, AUTOGRAD, FACTORIES, VIEWS } from "./_entries_tensors.ts";
import { TRAINING } from "./_entries_training.ts";
import type { Entry } from "./_entry.ts";

/** All of them. */
export const ENTRIES: readonly Entry[] = [
  ...FACTORIES,
  ...VIEWS,
  ...ARITHMETIC,
  ...AUTOGRAD,
  ...ATTENTION,
  ...MASKS,
  ...LAYERS,
  ...TRAINING,
];
