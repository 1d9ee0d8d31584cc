/**
 * What is measured, as data: the shape sets of xformers' and flash-attention's benchmarks, and the cases that
 * the wanted figures in `must.ts` are about. Letters as in the documentation.
 */

/** Which passes are timed: training is forward and backward together, as a training step has them. */
export type Pass = "forward" | "training";

/** What is added to plain attention. */
export type Variant =
  | "none"
  | "causal"
  | "window"
  | "packed"
  | "padded"
  | "alibi"
  | "dropout"
  | "bias"
  | "bias with gradient"
  | "half products";

/** Element types of attention. */
export type FloatName = "f32" | "f16" | "bf16";

/** Where a case comes from. */
export type SetName = "check" | "must" | "masks" | "vision" | "llm" | "flash" | "decode" | "sweep";

/** One line of the results. */
export interface Case {
  /** The set. */
  readonly set: SetName;
  /** Sequences. */
  readonly B: number;
  /** Queries of a sequence. */
  readonly Mq: number;
  /** Keys of a sequence. */
  readonly Mkv: number;
  /** Query heads. */
  readonly H: number;
  /** Key and value heads; a divisor of H. */
  readonly Hkv: number;
  /** Head dim of queries, keys and values. */
  readonly K: number;
  /** Element type of inputs and result; sums are f32. */
  readonly dtype: FloatName;
  /** Mask, bias or dropout. */
  readonly variant: Variant;
  /** What is timed. */
  readonly pass: Pass;
  /** Whether the peers compute it too, where they are asked for. */
  readonly peers: boolean;
  /** Whether `--quick` has it. */
  readonly quick: boolean;
  /** Whether a CPU is to leave it out: it would take minutes, and no wanted figure is about it there. */
  readonly gpuOnly: boolean;
}

const BASE = {
  dtype: "f16",
  variant: "none",
  pass: "forward",
  peers: false,
  quick: false,
  gpuOnly: false,
} as const satisfies Partial<Case>;

/** Self-attention `[B, M, H, K]`. */
function self(
  set: SetName,
  [B, M, H, K]: readonly [number, number, number, number],
  rest: Partial<Case> = {},
): Case {
  return { ...BASE, set, B, Mq: M, Mkv: M, H, Hkv: H, K, ...rest };
}

const PASSES: readonly Pass[] = ["forward", "training"];

/** A case forward, and as a step of training; a gradient of the bias there is in the latter alone. */
function bothPasses(found: Case): Case[] {
  return found.variant === "bias with gradient"
    ? [{ ...found, pass: "training" }]
    : PASSES.map((pass) => ({ ...found, pass }));
}

/** Cases so small that every row of every result is held against float64. */
function checkCases(): Case[] {
  return bothPasses(self("check", [1, 128, 8, 64], { dtype: "f32", peers: true, quick: true }));
}

/** The cases that wanted figures are about. */
function mustCases(): Case[] {
  const f32 = { dtype: "f32" } as const;
  const against = [256, 2048, 4096].flatMap((N) =>
    PASSES.map((pass) =>
      self("must", [1, N, 8, 64], {
        ...f32,
        pass,
        peers: true,
        quick: N < 4096,
        gpuOnly: N === 4096 && pass === "training",
      })
    )
  );
  const large = { ...f32, gpuOnly: true };
  return [
    ...against,
    self("must", [1, 4096, 8, 64], { ...f32, variant: "causal" }),
    ...bothPasses(self("must", [1, 4096, 16, 64], { ...large, quick: true })),
    self("must", [1, 4096, 16, 64], { ...large, variant: "causal" }),
    self("must", [1, 4096, 16, 128], large),
    self("must", [1, 4096, 16, 64], { ...large, dtype: "f16" }),
    self("must", [1, 4096, 16, 64], { ...large, dtype: "f16", variant: "half products" }),
  ];
}

/** One shape under every mask and element type. */
function maskCases(): Case[] {
  const shape = [1, 4096, 16, 64] as const;
  const variants = [
    "causal",
    "window",
    "packed",
    "alibi",
    "dropout",
    "bias",
    "bias with gradient",
  ] as const;
  return [
    ...variants.map((variant) =>
      self("masks", shape, { dtype: "f32", variant, quick: variant === "causal" })
    ),
    self("masks", shape, { dtype: "f32", Hkv: 4 }),
    self("masks", shape, { dtype: "bf16" }),
    ...[16, 32, 256].map((K) => self("masks", [1, 4096, 16, K], { dtype: "f32" })),
  ].flatMap(bothPasses);
}

/** Vision transformers and Stable Diffusion; each shape in f16 and in one variant, in turn. */
function visionCases(): Case[] {
  const of = (B: readonly number[], M: readonly number[], H: number, Ks: readonly number[]) =>
    B.flatMap((b) => M.flatMap((m) => Ks.map((K) => [b, m, H, K] as const)));
  const shapes = [
    ...of([384, 1024], [197], 1, [88, 80, 64]),
    ...of([512], [197], 1, [80]),
    ...of([32], [197], 16, [80, 64, 128]),
    ...of([256], [197], 1, [88]),
    ...of([16], [197], 16, [88, 64, 128]),
    ...of([1024], [82], 8, [64]),
    ...of([150], [256], 16, [64]),
    ...of([64], [256], 12, [64]),
    ...of([1, 4], [4096, 16_384], 16, [40, 80]),
    ...of([256], [4096], 16, [64]),
    ...of([8], [2048], 20, [128]),
  ];
  const variants: readonly Partial<Case>[] = [
    { variant: "dropout" },
    { variant: "bias" },
    { variant: "bias with gradient" },
    { dtype: "bf16" },
    { dtype: "f32" },
  ];
  return shapes.flatMap((shape, i) => {
    // A bias of 16,384 squared for each of 16 heads is beyond the largest buffer.
    const choice = variants.filter(({ variant }) =>
      !variant?.startsWith("bias") || shape[1] <= 4096
    );
    const found = self("vision", shape, { quick: i === 0 });
    return [found, { ...found, quick: false, ...choice[i % choice.length] }].flatMap(bothPasses);
  }).concat(
    // ViT-B/16 on three images, which the peers can compute too.
    PASSES.map((pass) =>
      self("vision", [3, 196, 12, 64], { dtype: "f32", pass, peers: true, quick: true })
    ),
  );
}

/** Language models. */
function llmCases(): Case[] {
  const long = [1, 2].flatMap((B) =>
    [2048, 4096, 8192].flatMap((M) => [4, 8].map((H) => [B, M, H, 128] as const))
  );
  const variants: readonly Partial<Case>[] = [
    {},
    { variant: "bias with gradient" },
    { variant: "causal" },
    { variant: "padded", Hkv: 1 },
    { variant: "padded", Hkv: 2 },
  ];
  const short = [128, 512, 1024].flatMap((M) =>
    [16, 32, 64, 128, 160, 256].map((K) => [16, M, 16, K] as const)
  );
  return [
    ...long.flatMap((shape, i) =>
      variants.map((rest, j) => self("llm", shape, { ...rest, quick: i === 0 && j === 2 }))
    ),
    ...short.map((shape) => self("llm", shape)),
    self("llm", [1, 1024, 8, 128], { dtype: "f32", variant: "causal", peers: true }),
  ].flatMap(bothPasses);
}

/** flash-attention's benchmark: 2,048 features and 16,384 tokens in all; and two shapes of models. */
function flashCases(): Case[] {
  const sizes = [0, 1, 2, 3, 4, 5].map((i) => [32 >> i, 512 << i] as const);
  const square = sizes.flatMap(([B, M]) =>
    [64, 128].flatMap((K) =>
      (["none", "causal"] as const).map((variant) =>
        self("flash", [B, M, 2048 / K, K], { variant, quick: M === 2048 && K === 64 })
      )
    )
  );
  const models = [
    ...[1024, 4096, 16_384].map((M) =>
      self("flash", [2, M, 32, 128], { Hkv: 8, variant: "causal" })
    ),
    ...[4096, 32_768].map((M) => self("flash", [1, M, 24, 128])),
  ];
  return [...square.flatMap(bothPasses), ...models];
}

/** One query against a cache of keys and values; 65,536 keys in all, or one sequence. */
function decodeCases(): Case[] {
  return Array.from({ length: 10 }, (_, i) => 256 << i).flatMap((Mkv) =>
    [1, 2].map((Hkv) =>
      self("decode", [Math.max(1, 65_536 / Mkv), 1, 16, 128], {
        Mkv,
        Hkv,
        quick: Hkv === 2 && Mkv === 65_536,
      })
    )
  );
}

/** xformers' sweep of version 0.0.13. */
function sweepCases(): Case[] {
  const axes = { B: [32, 256], M: [128, 512, 1024], K: [16, 32, 64, 128] };
  return axes.B.flatMap((B) =>
    axes.M.flatMap((M) =>
      axes.K.flatMap((K) =>
        (["none", "bias", "causal"] as const).flatMap((variant) =>
          (["f32", "f16", "bf16"] as const).map((dtype) =>
            self("sweep", [B, M, 1, K], { variant, dtype })
          )
        )
      )
    )
  ).flatMap(bothPasses);
}

/** All cases, at the sizes that they have on a GPU. */
export function allCases(): Case[] {
  return [
    ...checkCases(),
    ...mustCases(),
    ...maskCases(),
    ...visionCases(),
    ...llmCases(),
    ...flashCases(),
    ...decodeCases(),
    ...sweepCases(),
  ];
}
