/**
 * The peers' packages, pinned. They are imported by what stands here, never by a literal, so that checking,
 * testing and locking this project fetches none of them.
 */
export const PEER_PACKAGES = {
  "jax-js": ["npm:@jax-js/jax@0.1.25"],
  "tfjs": ["npm:@tensorflow/tfjs@4.22.0", "npm:@tensorflow/tfjs-backend-webgpu@4.22.0"],
  "onnxruntime-web": ["npm:onnxruntime-web@1.30.0/webgpu", "npm:onnx-proto@8.0.1"],
} as const;

/** The chart's package, and the file whose text goes into the page as it is. */
export const PLOTLY = {
  name: "npm:plotly.js-cartesian-dist-min@4.1.1",
  file: "plotly-cartesian.min.js",
} as const;

/** Imports a package that has no types here; the caller says what of it is used. */
export async function importPackage<T>(specifier: string): Promise<T> {
  return await import(specifier) as T;
}

/** The text of a file of a package. */
export async function importText({ name, file }: typeof PLOTLY): Promise<string> {
  // Deno finds a package's texts once a module of it was imported; this one runs nothing.
  await import(`${name}/package.json`, { with: { type: "json" } });
  const text = await import(`${name}/${file}`, { with: { type: "text" } }) as { default: string };
  return text.default;
}
