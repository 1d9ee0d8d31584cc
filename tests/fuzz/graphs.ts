/** Small graphs of operations, whose gradients are held against differences of the same graph in float64. */
import { type Device, type Tensor, tidy } from "@denoformers/attention";
import fc from "fast-check";
import { type Family, take } from "./_family.ts";
import {
  byRow,
  gelu,
  type Host,
  logSumExpRow,
  mapped,
  normalizedRow,
  numel,
  permuted,
  product,
  reduced,
  reshaped,
  softmaxRow,
  someNumbers,
  sum,
  zipped,
} from "./_host.ts";

/** An operation on earlier values of the graph, of which the first are the leaves; numbers are counted around. */
interface Node {
  readonly op: keyof typeof OPERATIONS;
  readonly a: number;
  readonly b: number;
}

/** A graph; its result is the weighted sum of its last value. */
interface GraphCase {
  readonly rows: number;
  readonly columns: number;
  readonly nodes: readonly Node[];
  readonly numbers: number;
}

interface Operation {
  readonly tensor: (a: Tensor, b: Tensor) => Tensor;
  readonly host: (a: Host, b: Host) => Host;
}

const rowwise = (fn: (xs: number[]) => number[]) => (a: Host) => byRow(a, 1, fn);

/** Smooth functions of matrices of one shape, which give such matrices, so that any may follow any. */
const OPERATIONS = {
  add: { tensor: (a, b) => a.add(b), host: (a, b) => zipped([a, b], (x, y) => x + y) },
  sub: { tensor: (a, b) => a.sub(b), host: (a, b) => zipped([a, b], (x, y) => x - y) },
  mul: { tensor: (a, b) => a.mul(b), host: (a, b) => zipped([a, b], (x, y) => x * y) },
  div: {
    tensor: (a, b) => a.div(b.square().add(1)),
    host: (a, b) => zipped([a, b], (x, y) => x / (y * y + 1)),
  },
  tanh: { tensor: (a) => a.tanh(), host: (a) => mapped(a, Math.tanh) },
  sigmoid: { tensor: (a) => a.sigmoid(), host: (a) => mapped(a, (x) => 1 / (1 + Math.exp(-x))) },
  gelu: { tensor: (a) => a.gelu(), host: (a) => mapped(a, gelu) },
  sine: { tensor: (a) => a.tanh().sin(), host: (a) => mapped(a, (x) => Math.sin(Math.tanh(x))) },
  root: {
    tensor: (a) => a.square().add(1).sqrt(),
    host: (a) => mapped(a, (x) => Math.sqrt(x * x + 1)),
  },
  softmax: { tensor: (a) => a.softmax(), host: rowwise(softmaxRow) },
  // An epsilon of 1, since a row of equal numbers would magnify what rounding made of it.
  layerNorm: {
    tensor: (a) => a.layerNorm({ epsilon: 1 }),
    host: rowwise((xs) => normalizedRow(xs, 1)),
  },
  logSumExp: {
    tensor: (a, b) => b.sub(a.logSumExp(-1, { keepDim: true })),
    host: (a, b) => zipped([b, reduced(a, [1], true, logSumExpRow)], (x, y) => x - y),
  },
  mean: {
    tensor: (a, b) => a.mean({ axis: 0, keepDim: true }).add(b),
    host: (a, b) =>
      zipped([reduced(a, [0], true, (xs) => sum(xs) / xs.length), b], (x, y) => x + y),
  },
  matmul: {
    tensor: (a, b) => a.matmul(b.transpose(0, 1)).matmul(a).tanh(),
    host: (a, b) => mapped(product(product(a, permuted(b, [1, 0])), a), Math.tanh),
  },
  reshape: {
    tensor: (a) => a.transpose(0, 1).reshape(a.shape),
    host: (a) => reshaped(permuted(a, [1, 0]), a.shape),
  },
  select: {
    tensor: (a, b) => a.select(0, 0).add(b),
    host: (a, b) =>
      zipped([{ shape: [a.shape[1]!], data: a.data.slice(0, a.shape[1]) }, b], (x, y) => x + y),
  },
} as const satisfies Record<string, Operation>;

const NAMES = Object.keys(OPERATIONS) as (keyof typeof OPERATIONS)[];

/** Backward passes. */
export const graphs: Family<GraphCase> = {
  name: "graphs",
  weight: 6,
  quick: 6,
  cases: (scope) =>
    fc.record({
      rows: fc.integer({ min: 1, max: 3 }),
      columns: fc.integer({ min: 1, max: 4 }),
      nodes: fc.array(
        fc.record({ op: scope.some(NAMES, 3), a: fc.nat(9), b: fc.nat(9) }),
        { minLength: 1, maxLength: 6 },
      ),
      numbers: fc.nat(99),
    }),
  async check(device: Device, { rows, columns, nodes, numbers }) {
    const shape = [rows, columns];
    const leaves = [0, 1].map((which) => someNumbers(numel(shape), 3 * numbers + which));
    const weights = someNumbers(numel(shape), 3 * numbers + 2);
    const value = (inputs: readonly number[][]): number => {
      const values: Host[] = inputs.map((data) => ({ shape, data }));
      for (const { op, a, b } of nodes) {
        const { host } = OPERATIONS[op] as Operation;
        values.push(host(values[a % values.length]!, values[b % values.length]!));
      }
      return sum(values.at(-1)!.data.map((x, i) => x * weights[i]!));
    };
    const tensors = tidy(() => {
      const inputs = leaves.map((data) =>
        device.tensor(Float32Array.from(data), { shape, requiresGrad: true })
      );
      const values: Tensor[] = [...inputs];
      for (const { op, a, b } of nodes) {
        const { tensor } = OPERATIONS[op] as Operation;
        values.push(tensor(values[a % values.length]!, values[b % values.length]!));
      }
      const result = values.at(-1)!.mul(device.tensor(Float32Array.from(weights), { shape })).sum();
      result.backward();
      // A leaf's gradient is disposed with it.
      return [result.detach(), ...inputs.map(({ grad }) => grad?.clone() ?? device.zeros(shape))];
    });
    const [result, ...gradients] = await take(tensors);
    // Six operations in f32 on numbers that grow to some hundreds at most.
    assertNear(result!.data[0]!, value(leaves), 1, "result");
    for (const [which, { data }] of gradients.entries()) {
      for (const [i, found] of data.entries()) {
        const step = 1e-4;
        const at = (x: number) => value(leaves.with(which, leaves[which]!.with(i, x)));
        const x = leaves[which]![i]!;
        const scale = Math.abs(value(leaves));
        assertNear(
          found,
          (at(x + step) - at(x - step)) / (2 * step),
          scale,
          `gradient ${which}, ${i}`,
        );
      }
    }
  },
};

/** Within what f32 does to numbers of this size in a few operations: 2^-23 times some hundred. */
function assertNear(found: number, expected: number, scale: number, what: string): void {
  if (Math.abs(found - expected) <= 1e-4 * (1 + scale) + 1e-3 * Math.abs(expected)) return;
  throw new Error(`${what} is ${found}, expected ${expected}`);
}
