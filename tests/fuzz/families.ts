/** All families. */
import type { AnyFamily } from "./_family.ts";
import {
  attention,
  attentionGradients,
  looseAttention,
  masks,
  merges,
  scaledDotProduct,
  spoiledMasks,
} from "./attention.ts";
import { conversions } from "./conversions.ts";
import { elementwise } from "./elementwise.ts";
import { factories } from "./factories.ts";
import { graphs } from "./graphs.ts";
import { huge } from "./huge.ts";
import { joins } from "./joins.ts";
import { layers, training } from "./layers.ts";
import { largeScores } from "./large_scores.ts";
import { products } from "./products.ts";
import { reductions } from "./reductions.ts";
import { views } from "./views.ts";
import { wrongArguments } from "./wrong_arguments.ts";

/** In the order in which they run: what is cheap first. */
export const FAMILIES: readonly AnyFamily[] = [
  wrongArguments,
  spoiledMasks,
  masks,
  looseAttention,
  huge,
  factories,
  views,
  joins,
  conversions,
  products,
  reductions,
  elementwise,
  graphs,
  training,
  layers,
  scaledDotProduct,
  merges,
  largeScores,
  attention,
  attentionGradients,
];
