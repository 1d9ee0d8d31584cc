/**
 * A file of an npm package, for the bytes of which Deno has no `import`.
 *
 * `import.meta.resolve()` gives the place of such a file on disk where the package has been loaded: import
 * something of it before, its package.json for instance. That works in modules from JSR too.
 *
 * @param resolved What `import.meta.resolve()` gave for `npm:NAME@VERSION/FILE`.
 * @returns The file's URL on this disk.
 * @throws {Error} If the package is not loaded.
 */
export function packageFile(resolved: string): URL {
  if (resolved.startsWith("file:")) return new URL(resolved);
  throw new Error(`Cannot find ${resolved}: the package is not loaded, expected it to be imported`);
}
