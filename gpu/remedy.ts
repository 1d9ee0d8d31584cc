/** What to install on each system. */
export function adapterRemedy(os: string): string {
  return `Install a Vulkan driver (${os})`;
}
