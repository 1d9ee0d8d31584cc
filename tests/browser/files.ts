/** Which of the project's test files run where there is no Deno, and why the others do not. */
import { fileURLToPath } from "node:url";

const TESTS = fileURLToPath(new URL("../", import.meta.url));

/** What a file needs that there is in Deno alone. */
const DENO_ALONE: Readonly<Record<string, string>> = {
  "gpu/runtime/backend_test.ts": "starts processes of Deno",
  "gpu/runtime/request_test.ts": "looks for Deno's name and remedies; elsewhere.ts has the others'",
  "attention/layers/safetensors_hostile_test.ts": "takes the time of the process alone",
  "gpu/setup/": "installs drivers",
  "gpu/tuning/": "measures within a call, and keeps files",
  "attention/tuning_test.ts": "measures within a call",
};

/**
 * What these try, others try too, in fewer ways; what they compile takes software drivers many seconds. Of the rest
 * the core runs: see `_extent.ts`.
 */
const SLOW: readonly string[] = [
  "gpu/ops/bindings_test.ts",
  "gpu/ops/elementwise_gradients_test.ts",
  "gpu/ops/forms_test.ts",
  "gpu/ops/matmul/tiles_test.ts",
  "attention/autograd_test.ts",
  "attention/backward_golden_test.ts",
  "attention/complaints",
  "attention/determinism_test.ts",
  "attention/dropout_test.ts",
  "attention/dtypes_backward_test.ts",
  "attention/flash_backward_test.ts",
  "attention/flash_forward_test.ts",
  "attention/forms_test.ts",
  "attention/grouped_query_test.ts",
  "attention/half_products_test.ts",
  "attention/layers/multihead_heads_test.ts",
  "attention/limits_test.ts",
  "attention/masks_forward_test.ts",
  "attention/merge_gradients_test.ts",
  "attention/property_test.ts",
  "attention/skipped_tiles_test.ts",
  "attention/split_forward_test.ts",
  "attention/terms_backward_test.ts",
  "attention/upstream_shapes_test.ts",
  "attention/varlen_golden_test.ts",
];

/** Tests of what differs where there is no Deno. */
const ELSEWHERE = "browser/elsewhere.ts";

/** Beginnings of paths, with commas between: these files run and no others. `all` runs the slow ones as well. */
const VARIABLE = "DENOFORMERS_ELSEWHERE_TESTS";

/** Paths of the test files, from `tests/`, in order. */
export function filesElsewhere(): string[] {
  const all = [ELSEWHERE, ...testFiles("gpu"), ...testFiles("attention")];
  const chosen = Deno.env.get(VARIABLE);
  const left = [...Object.keys(DENO_ALONE), ...chosen === undefined ? SLOW : []];
  const unknown = left.filter((start) => !all.some((file) => file.startsWith(start)));
  if (unknown.length > 0) {
    throw new Error(`Cannot leave out ${unknown}: there is no such test file`);
  }
  const files = all.filter((file) => !left.some((start) => file.startsWith(start)));
  if (chosen === undefined || chosen === "all") return files;
  return files.filter((file) => chosen.split(",").some((start) => file.startsWith(start)));
}

/**
 * The part of them for Node, whose WebGPU takes lavapipe far longer to compile: beginnings of paths. `half_test.ts`
 * and `module_test.ts` are not among them, as they compare with `Float16Array` and `Math.f16round`, which Node has
 * from version 24 on.
 */
const IN_NODE: readonly string[] = [
  ELSEWHERE,
  "gpu/autograd/",
  "gpu/device_test.ts",
  "gpu/faults_test.ts",
  "gpu/format_test.ts",
  "gpu/layout_test.ts",
  "gpu/lifetime_test.ts",
  "gpu/memory_test.ts",
  "gpu/random/",
  "gpu/runtime/",
  "gpu/shape_test.ts",
  "gpu/tensor/errors_test.ts",
  "gpu/tensor/gradients_join_test.ts",
  "gpu/tensor/gradients_linear_algebra_test.ts",
  "gpu/tensor/host_test.ts",
  "gpu/tensor/indexing_test.ts",
  "gpu/tensor/join_test.ts",
  "gpu/tensor/update_test.ts",
  "gpu/tensor/views_test.ts",
  "gpu/testing/",
  "attention/layers/block_test.ts",
  "attention/layers/checkpoint_test.ts",
  "attention/layers/optimizers/",
  "attention/layers/safetensors",
  "attention/layers/training",
  "attention/masks/",
  "attention/masks_backward_test.ts",
  "attention/memory_efficient_attention",
  "attention/reference",
];

/** As {@linkcode filesElsewhere}, for Node. */
export function filesInNode(): string[] {
  const files = filesElsewhere();
  if (Deno.env.get(VARIABLE) !== undefined) return files;
  return files.filter((file) => IN_NODE.some((start) => file.startsWith(start)));
}

/**
 * How many tests a file declares: at least this many must have run. Those declared in a loop count once.
 *
 * @param file Its path, from `tests/`.
 */
export function declaredTests(file: string): number {
  const text = Deno.readTextFileSync(TESTS + file);
  return text.match(/^ +it(\.ignore)?\(/gm)?.length ?? 0;
}

function testFiles(folder: string): string[] {
  const entries = [...Deno.readDirSync(TESTS + folder)];
  return entries.sort((a, b) => a.name < b.name ? -1 : 1).flatMap(({ name, isDirectory }) => {
    const path = `${folder}/${name}`;
    if (isDirectory) return testFiles(path);
    return name.endsWith("_test.ts") ? [path] : [];
  });
}
