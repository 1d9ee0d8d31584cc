/**
 * Puts off work until its result is needed, and does it once; again only after a failure.
 *
 * @param work What to do, for instance to load a package.
 * @returns A function that gives the result.
 */
export function lazy<T>(work: () => Promise<T>): () => Promise<T> {
  let result: Promise<T> | undefined;
  return () =>
    result ??= work().catch((error) => {
      result = undefined;
      throw error;
    });
}
