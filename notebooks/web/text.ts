/** Numbers as people read them. */

const BYTE_UNITS = ["B", "KiB", "MiB", "GiB", "TiB"] as const;
const COUNT_UNITS = ["", "k", "M"] as const;
const TIME_UNITS = [[864e5, "days"], [36e5, "h"], [6e4, "min"], [1e3, "s"]] as const;

/** Bytes with three digits, in the largest unit of which there is one at least. */
export function formatBytes(bytes: number): string {
  return scaled(bytes, BYTE_UNITS, " ");
}

/** Tokens: 1k is 1024, 1M is 1024k. Other numbers stand as they are. */
export function formatTokens(tokens: number): string {
  const text = scaled(tokens, COUNT_UNITS, "");
  return tokens % 1024 === 0 ? text : String(tokens);
}

/** Milliseconds with three digits, in the largest unit of which there is one at least. */
export function formatDuration(milliseconds: number): string {
  const [size, unit] = TIME_UNITS.find(([size]) => milliseconds >= size) ?? [1, "ms"];
  return `${+(milliseconds / size).toPrecision(3)} ${unit}`;
}

function scaled(number: number, units: readonly string[], space: string): string {
  const power = number < 1 ? 0 : Math.floor(Math.log2(number) / 10);
  const unit = Math.min(power, units.length - 1);
  return `${+(number / 1024 ** unit).toPrecision(3)}${space}${units[unit]}`;
}
