/** All peers; one that cannot be loaded says so in every case. */
import type { Contender } from "../contender.ts";
import type { MemoryWatch } from "../memory_watch.ts";
import { loadJaxJs } from "./jax_js.ts";
import { loadOnnxruntime } from "./onnxruntime.ts";
import { PEER_PACKAGES } from "./packages.ts";
import { loadTfjs } from "./tfjs.ts";

const LOADERS: Readonly<Record<keyof typeof PEER_PACKAGES, () => Promise<Contender>>> = {
  "jax-js": loadJaxJs,
  "tfjs": loadTfjs,
  "onnxruntime-web": loadOnnxruntime,
};

/** The version of each peer. */
export const PEER_VERSIONS: Readonly<Record<string, string>> = Object.fromEntries(
  Object.entries(PEER_PACKAGES).map(([name, [main]]) => [name, /@([\d.]+)/.exec(main)![1]!]),
);

/**
 * Loads all peers.
 *
 * @param watch Gets to know whose device is whose.
 */
export async function loadPeers(watch: MemoryWatch): Promise<Contender[]> {
  const peers: Contender[] = [];
  for (const [name, load] of Object.entries(LOADERS)) {
    watch.owner = name;
    try {
      peers.push(await load());
    } catch (error) {
      const reason = `cannot be loaded: ${error instanceof Error ? error.message : error}`;
      peers.push({
        name,
        prepare: () => Promise.reject(new Error(reason)),
      });
    }
  }
  return peers;
}
