/** Short advice, the same wherever an adapter is found to be missing or unsafe. */

const LINUX =
  `Install a Vulkan driver: your GPU's, or Mesa's from version 25, which also runs on the CPU.
  Debian 12           sudo apt install mesa-vulkan-drivers/bookworm-backports libvulkan1
                      (with bookworm-backports among apt's sources: Debian 12's own Mesa is unsafe)
  Debian 13 or later  sudo apt install mesa-vulkan-drivers libvulkan1
  Ubuntu 24.04,       the same, with the release's updates among apt's sources; Ubuntu 22.04's Mesa
    or later          is unsafe, so there only a GPU's own driver will do
  Fedora              sudo dnf install mesa-vulkan-drivers vulkan-loader
  Arch                sudo pacman -S vulkan-swrast vulkan-icd-loader
  NVIDIA's GPUs       in a container: start it through NVIDIA's container toolkit with
                      NVIDIA_DRIVER_CAPABILITIES=all (graphics is what counts), and install
                      libvulkan1 and libxext6 in it`;

const BY_OS: Record<string, string> = {
  linux: LINUX,
  darwin: "macOS brings its own driver: update macOS.",
  windows: "Update Windows and the driver of the GPU, from Windows Update or the GPU's maker.",
  browser: "Update the browser and the driver of the GPU, and see whether the browser's settings " +
    "turn hardware acceleration or WebGPU off.",
};

/**
 * What to install or change on an operating system so that WebGPU finds a usable adapter.
 *
 * @param os The system as `Deno.build.os` names it, or `"browser"`.
 * @returns The advice: one or more lines, without a line break at the end.
 */
export function adapterRemedy(os: string): string {
  return BY_OS[os] ?? "Install a Vulkan driver for the GPU, or update the one there is.";
}
