/** The readable baseline, which keeps all scores: {@linkcode mathForward}. */
import { tidy } from "../../gpu/lifetime.ts";
import type { ForwardOp, ForwardResult } from "../dispatch.ts";
import type { AttentionInputs } from "../inputs.ts";
import { logSumExpOfLastAxis } from "./log_sum_exp.ts";
import { dropped, headsLead, neededPlaces, scoresOf, scoresReasons, times } from "./formula.ts";

/**
 * Attention by the formula, one tensor operation after the other: scores, bias, softmax, dropout, product.
 * Takes O(B H Mq Mkv) memory, two to three score matrices at once; the other ops are compared with it.
 */
export const mathForward: ForwardOp = {
  name: "mathF",

  notSupportedReasons: scoresReasons,

  forward(inputs: AttentionInputs, { lse: wantsLse }: { lse: boolean }): ForwardResult {
    const { outShape, lseShape, output } = inputs;
    return tidy(() => {
      const query = headsLead(inputs, inputs.query);
      const key = headsLead(inputs, inputs.key);
      const places = neededPlaces(inputs);
      const scores = scoresOf(inputs, query, key, places);
      const lse = wantsLse ? logSumExpOfLastAxis(scores).reshape(lseShape) : undefined;
      const weights = scores.softmax(-1);
      scores.dispose();
      const value = headsLead(inputs, inputs.value);
      const out = times(inputs, dropped(inputs, weights, places), value); // [B, G, H, Mq, Kv]
      return {
        out: out.permute([0, 3, 1, 2, 4]).contiguous().reshape(outShape).to(output),
        lse,
      };
    });
  },
};
