/** Constructors of masks over sequences, which the fuzzer makes by static methods: calls that are right. */
import * as attention from "@denoformers/attention";
import type { Arguments, Entry } from "./fuzz/_entry.ts";

const packed = { qSeqlen: [1, 2] };
const padded = { qSeqlen: [1, 2], kvPadding: 4, kvSeqlen: [2, 3] };
const gappy = { qSeqlen: [1, 2], kvSeqstarts: [0, 3, 6], kvSeqlen: [2, 3] };
const paged = { qSeqlen: [1, 2], kvSeqlen: [2, 3], blockTables: [[0], [1]], pageSize: 4 };

/** What constructors take behind the sequences. */
const WINDOW = { windowSize: "positive" } as const;
const WINDOWS = { windowLeft: "positive", windowRight: "positive" } as const;

const maskEntry = (
  name: keyof typeof attention,
  sequences: Arguments,
  windows: Entry["kinds"] = {},
): Entry => ({
  name,
  kinds: {
    options: "options",
    ...Object.fromEntries(Object.keys(sequences).map((key) => [key, "lengths" as const])),
    ...("kvPadding" in sequences && { kvPadding: "count" }),
    ...("pageSize" in sequences && { pageSize: "count" }),
    ...windows,
  },
  right: () => ({
    ...sequences,
    ...Object.fromEntries(Object.keys(windows).map((key) => [key, 1])),
  }),
  call: ({ options, ...given }) => {
    const own = Object.keys(sequences);
    const all = Object.entries(given);
    const what = options ?? Object.fromEntries(all.filter(([key]) => own.includes(key)));
    const rest = all.filter(([key]) => !own.includes(key)).map(([, value]) => value);
    // deno-lint-ignore no-explicit-any -- arguments that are wrong have no type
    return new (attention[name] as any)(options === null ? null : what, ...rest);
  },
});

/** Masks over sequences, by their constructors. */
export const MASK_ENTRIES: readonly Entry[] = [
  maskEntry("BlockDiagonalCausalMask", packed),
  maskEntry("BlockDiagonalCausalFromBottomRightMask", packed),
  maskEntry("BlockDiagonalCausalLocalAttentionMask", packed, WINDOW),
  maskEntry("BlockDiagonalCausalLocalAttentionFromBottomRightMask", packed, WINDOW),
  maskEntry("BlockDiagonalCausalWithOffsetPaddedKeysMask", padded),
  maskEntry("BlockDiagonalLocalAttentionPaddedKeysMask", padded, WINDOWS),
  maskEntry("BlockDiagonalCausalLocalAttentionPaddedKeysMask", padded, WINDOW),
  maskEntry("BlockDiagonalCausalWithOffsetGappyKeysMask", gappy),
  maskEntry("BlockDiagonalLocalAttentionFromBottomRightGappyKeysMask", gappy, WINDOWS),
  maskEntry("PagedBlockDiagonalPaddedKeysMask", paged),
  maskEntry("PagedBlockDiagonalCausalWithOffsetPaddedKeysMask", paged),
  maskEntry("PagedBlockDiagonalCausalLocalPaddedKeysMask", paged, WINDOW),
  maskEntry("PagedBlockDiagonalGappyKeysMask", { ...paged, kvSeqstarts: [0, 0] }),
  maskEntry("PagedBlockDiagonalCausalWithOffsetGappyKeysMask", { ...paged, kvSeqstarts: [0, 0] }),
];
