/** Where each row and key stands in its block, as tensors: how the `math` op sees a mask. */
import type { Tensor } from "../../gpu/tensor/tensor.ts";
import type { AttentionInputs } from "../inputs.ts";
import { keyRow } from "../masks/bias.ts";
import { visibleKeys } from "../masks/window.ts";

/** i32 tensors that broadcast to `[Mq, Mkv]`, but for `rows`. */
export interface Places {
  /** Index of each key in the row's block: `[Mq, Mkv]` or `[1, Mkv]`; below 0 or from Lk on where it is in none. */
  readonly keys: Tensor;
  /** First key that each row sees, `[Mq, 1]`. */
  readonly begin: Tensor;
  /** The one behind the last, `[Mq, 1]`. */
  readonly end: Tensor;
  /** The key that each row stands over where both are aligned at their ends, `[Mq, 1]`. */
  readonly own: Tensor;
  /** Number of each row's block and index in it, `[Mq, 2]`. */
  readonly rows: Tensor;
}

/** The places of all rows and keys. Time O(Mq + Mkv), for paged keys O(Mq Mkv). */
export function placesOf(inputs: AttentionInputs): Places {
  const { device, mask, sizes: { Mq, Mkv } } = inputs;
  const blocks = mask.blocks ?? [{ queryBegin: 0, queries: Mq, keyBegin: 0, keys: Mkv }];
  const columns = { keyBegin: [], begin: [], end: [], own: [], block: [], row: [] } as Record<
    "keyBegin" | "begin" | "end" | "own" | "block" | "row",
    number[]
  >;
  for (const [block, { queries, keyBegin, keys }] of blocks.entries()) {
    for (let row = 0; row < queries; row++) {
      const [begin, end] = visibleKeys(mask.window, row, queries, keys);
      const place = { keyBegin, begin, end, own: row + keys - queries, block, row };
      for (const [name, value] of Object.entries(place)) {
        columns[name as keyof typeof columns].push(value);
      }
    }
  }
  const column = (values: number[]) =>
    device.tensor(Int32Array.from(values), { shape: [values.length, 1] });
  return {
    keys: mask.pages
      ? pagedKeys(inputs)
      : keysAlongM(inputs, mask.blocks && column(columns.keyBegin)),
    begin: column(columns.begin),
    end: column(columns.end),
    own: column(columns.own),
    rows: device.tensor(
      Int32Array.from({ length: 2 * Mq }, (_, at) => {
        return (at % 2 === 0 ? columns.block : columns.row)[Math.floor(at / 2)]!;
      }),
      { shape: [Mq, 2] },
    ),
  };
}

function keysAlongM(
  { device, sizes: { Mkv } }: AttentionInputs,
  keyBegin: Tensor | undefined,
): Tensor {
  const keys = device.arange(0, Mkv, 1, { dtype: "i32" }).reshape([1, Mkv]);
  return keyBegin ? keys.sub(keyBegin) : keys;
}

/** Keys of paged blocks lie in any order, so each row's are looked up; -1 stands for another block's. */
function pagedKeys({ device, mask, sizes: { Mq, Mkv } }: AttentionInputs): Tensor {
  const keys = new Int32Array(Mq * Mkv).fill(-1);
  for (const [b, { queryBegin, queries, keyBegin, keys: count }] of mask.blocks!.entries()) {
    for (let key = 0; key < count; key++) {
      const place = keyRow(mask.pages!.tables[b], mask.pages!.size, keyBegin + key);
      for (let row = 0; row < queries; row++) keys[(queryBegin + row) * Mkv + place] = key;
    }
  }
  return device.tensor(keys, { shape: [Mq, Mkv] });
}
