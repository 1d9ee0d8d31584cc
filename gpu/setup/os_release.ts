/**
 * The fields of an os-release file, by name, without their quotes.
 *
 * @param text The file, which by the standard is a list of shell assignments.
 * @returns The fields, such as `ID` and `VERSION_CODENAME`.
 */
export function parseOsRelease(text: string): Record<string, string> {
  const fields: Record<string, string> = {};
  for (const line of text.split("\n")) {
    const [, name, value] = line.match(/^\s*([A-Z][A-Z0-9_]*)=(.*?)\s*$/) ?? [];
    if (name === undefined || value === undefined) continue;
    const quoted = value.match(/^(["'])(.*)\1$/);
    fields[name] = (quoted?.[2] ?? value).replace(/\\([\\"'$`])/g, "$1");
  }
  return fields;
}
