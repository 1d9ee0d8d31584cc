/** What errors about options advise: the name that was meant, also in the words of PyTorch, xformers, timm and NumPy. */

/** Words that mean something else here, names for it in order of preference, and what to say if none is known. */
type Row = readonly [words: string, names: readonly string[], otherwise?: string];

/** Words are without case and underscores; what differs in nothing else needs no row. A name may carry an example. */
const ROWS: readonly Row[] = [
  ["dim dims axes", ["axis"]],
  ["keepdims", ["keepDim"]],
  ["dtype outdtype outputtype", ["outputDtype"], "to(dtype) converts a tensor"],
  ["size", ["shape"]],
  ["requiredlimits", ["limits"]],
  ["requiredfeatures", [], "all features that are of use are asked for"],
  ["device", [], "tensors live on the device that makes them"],
  ["memoryformat layout", [], "strides are changed by permute()"],
  ["out inplace pinmemory", [], "results are new tensors"],
  ["generator rng manualseed randomstate", ["seed"]],
  ["training train", [], "layers have train() and eval(); functions do what their arguments say"],
  ["creategraph", [], "a backward pass is not recorded itself"],
  ["inputs", [], "gradients flow to all leaves that require them"],
  ["requiresgrad grad", [], "set requiresGrad on the tensor, or setRequiresGrad() on the layer"],
  ["rate stepsize lr", ["learningRate", "peak"]],
  ["eps", ["epsilon", "normEpsilon"]],
  ["wd l2", ["weightDecay"]],
  ["params", ["parameters"]],
  ["momentum", ["betas: [momentum, 0.999]"]],
  ["beta beta1 beta2", ["betas: [beta1, beta2]"]],
  ["amsgrad", [], "the largest mean is not kept"],
  ["foreach fused capturable differentiable", [], "there is one implementation"],
  ["maxlr baselr", ["peak"]],
  ["minlr etamin", ["floor"]],
  ["warmup warmupiters numwarmupsteps", ["warmupSteps"]],
  ["tmax total totaliters numtrainingsteps", ["totalSteps"]],
  ["lastepoch", [], "the step is an argument"],
  ["errorifnonfinite", [], "a norm that is not finite is returned as it is"],
  ["attnbias attnmask attentionmask mask bias srcmask", ["attnBias", "attnMask"]],
  ["bias", ["qkvBias", "projBias"], "weight and bias are always there"],
  ["paddingmask srckeypaddingmask keymask", ["keyPaddingMask"]],
  ["iscausal causal", ["isCausal", "attnBias: new LowerTriangularMask()"]],
  [
    "windowsize window slidingwindow",
    ["attnBias: new LocalAttentionFromBottomRightMask(left, right)"],
  ],
  ["seqlens cuseqlens cuseqlensq", ["attnBias: BlockDiagonalMask.fromSeqlens(lengths)"]],
  ["heads nhead nheads numattentionheads", ["numHeads"], "the shapes say how many heads there are"],
  ["numheads", [], "the number of heads is an argument"],
  ["dim embeddim hiddensize dmodel", [], "the size is an argument"],
  ["softcap logitssoftcap", [], "scores are not capped"],
  ["softmaxscale smscale scaling", ["scale"]],
  ["enablegqa gqa", [], "key and value may have fewer heads as they are"],
  ["alibi slopes", ["alibiSlopes"]],
  ["returnlse needlse returnsoftmaxlse", ["writeLse"], "…ForwardRequiresGrad() gives the lse too"],
  ["deterministic", [], "results are the same at every run"],
  ["batchfirst", [], "the batch comes first"],
  ["attndropout attentiondropout", ["attnDrop", "p", "dropoutP", "dropout"]],
  ["projdropout droprate", ["projDrop", "drop"]],
  ["dropout dropoutp attndrop drop prob p", ["p", "dropoutP", "dropout", "drop", "attnDrop"]],
  ["projdrop", ["drop"]],
  ["droppathrate", ["dropPath"]],
  ["normlayer actlayer activation elementwiseaffine affine", [], "the parts of a layer are fixed"],
  ["normalizedshape", [], "the last axis is normalised"],
  ["maxnorm normtype scalegradbyfreq sparse", [], "vectors and gradients stay as they are"],
  ["weight weights", [], "all elements and classes weigh the same"],
  ["sizeaverage reduce", ["reduction"]],
  ["msg errmsg", ["message"]],
  ["checkdtype checkdevice checkstride", [], "values and shapes are compared"],
  ["rel tol", ["rtol"]],
  ["abs", ["atol"]],
  ["raiseexception", [], "a gradient that is wrong throws"],
  ["setupcontext", [], "forward() keeps what backward() needs by its context"],
  ["cmap", ["colorscale"]],
  ["vmin vmax zmin zmax", ["range: [low, high]"]],
  ["xlabel", ["xTitle"]],
  ["ylabel", ["yTitle"]],
  ["figsize", ["width"]],
  ["frames", [], "figures stand still"],
];

/**
 * What is wrong with a name that options must not have, and what to write instead.
 *
 * @param name The name.
 * @param known The names that they may have.
 */
export function unknownOption(name: string, known: readonly string[]): string {
  const word = letters(name);
  const rows = ROWS.filter(([words]) => words.split(" ").includes(word));
  const translated = rows.flatMap(([, names]) => names)
    .find((candidate) => known.includes(candidate.split(":")[0]!));
  const meant = known.find((candidate) => letters(candidate) === word) ?? translated;
  const sentence = rows.find(([, , otherwise]) => otherwise)?.[2];
  const near = meant ?? (sentence ? undefined : nearest(word, known));
  const all = `known ${known.length === 1 ? "is" : "are"} ${known.join(", ")}`;
  const advice = near ? `did you mean ${near}?` : sentence ?? all;
  return `options have ${JSON.stringify(name.slice(0, 40))}, which is not known; ${advice}`;
}

/** A name as a word of the table: `attn_bias` and `attnBias` are one. */
function letters(name: string): string {
  return name.slice(0, 40).replace(/[^a-z0-9]/gi, "").toLowerCase();
}

/** The name with the fewest letters to change, if they are few. */
function nearest(word: string, known: readonly string[]): string | undefined {
  const byEdits = known.map((name) => ({ name, edits: editsBetween(word, letters(name)) }))
    .sort((a, b) => a.edits - b.edits);
  const [best] = byEdits;
  return best && best.edits <= Math.floor(word.length / 3) && word.length > 2
    ? best.name
    : undefined;
}

/** How many letters must be put in, taken out or replaced to make one word of another. */
function editsBetween(a: string, b: string): number {
  let above = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const replaced = above[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1);
      row.push(Math.min(replaced, above[j]! + 1, row[j - 1]! + 1));
    }
    above = row;
  }
  return above[b.length]!;
}

/**
 * What is wrong with a value in the place of options, and what to write instead.
 *
 * @param value The value.
 * @param told The value in a few words.
 * @param known The names that options may have, each with the kinds of values that are meant for it.
 */
export function misplacedOptions(
  value: unknown,
  told: string,
  known: Readonly<Record<string, string>>,
): string {
  const any = `an object with any of ${Object.keys(known).join(", ")}`;
  if (value === undefined || value === null) return `options are ${value}, expected ${any}`;
  const kinds = kindsOf(value);
  const name = Object.keys(known).find((name) =>
    known[name]!.split(" ").some((kind) => kinds.includes(kind))
  );
  const advice = name === undefined ? any : `{ ${name}: ${written(value, kinds)} }`;
  const isNamed = typeof value === "object" && !/^an? /.test(told);
  const article = /^[AEIOU]/.test(told) ? "an" : "a";
  return `${isNamed ? `${article} ${told}` : told} stands where options are expected; ${
    kinds.includes("Promise") ? "await it" : `write ${advice}`
  }`;
}

/** Of what kind a value is: `number`, `list`, or the names of its classes from its own up. */
function kindsOf(value: unknown): string[] {
  if (Array.isArray(value) || ArrayBuffer.isView(value)) return ["list"];
  if (typeof value !== "object") return [typeof value];
  const names: string[] = [];
  for (let at = Object.getPrototypeOf(value); at; at = Object.getPrototypeOf(at)) {
    names.push(at.constructor?.name);
  }
  return names;
}

/** A value as it may stand in code: small ones as they are, others by a name. */
function written(value: unknown, [kind]: readonly (string | undefined)[]): string {
  if (Array.isArray(value)) {
    const isShort = value.length <= 8 && value.every((item) => typeof item === "number");
    return isShort ? `[${value.join(", ")}]` : "list";
  }
  if (typeof value === "string") return JSON.stringify(value.slice(0, 40));
  if (typeof value === "number" || typeof value === "boolean") return String(value);
  // The last word of a class says what its objects are: LowerTriangularMask.
  return typeof value === "function" ? "fn" : /[A-Z]?[a-z]*$/.exec(kind!)![0].toLowerCase();
}
