/** Where the loader's documentation says that drivers are described, in its order. */
const FOLDERS = [
  "/usr/local/etc/vulkan/icd.d",
  "/usr/local/share/vulkan/icd.d",
  "/etc/vulkan/icd.d",
  "/usr/share/vulkan/icd.d",
];

/**
 * Finds Mesa's driver for the CPU, which the task `demo` or `test` installs where there is none.
 *
 * @param folders Folders that describe drivers.
 * @returns The path of the file that describes it. `DENOFORMERS_LAVAPIPE_ICD` overrides the search.
 */
export function findLavapipe(folders: string[] = FOLDERS): string {
  const chosen = Deno.env.get("DENOFORMERS_LAVAPIPE_ICD");
  if (chosen) return chosen;
  for (const folder of folders) {
    for (const name of fileNames(folder).sort()) {
      // lvp_icd.x86_64.json, lvp_icd.aarch64.json, or lvp_icd.json from Mesa 25.2 on.
      if (/^lvp_icd.*\.json$/.test(name) && !/i[36]86/.test(name)) return `${folder}/${name}`;
    }
  }
  throw new Error(
    `Cannot find lavapipe: no lvp_icd*.json in ${folders.join(", ")}. ` +
      "Run gpu/setup/ensure_adapter.ts, or set DENOFORMERS_LAVAPIPE_ICD to the file's path",
  );
}

function fileNames(folder: string): string[] {
  try {
    return Array.from(Deno.readDirSync(folder), ({ name }) => name);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return [];
    throw error;
  }
}
