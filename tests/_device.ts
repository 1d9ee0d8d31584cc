/** What every test on a GPU needs: a device, inputs that show a stray read, a check for leaks. */
import { type Device, type DType, requestDevice, type Tensor, tidy } from "@denoformers/attention";
import { assertLessOrEqual } from "@std/assert";

let shared: Promise<Device> | undefined;

/**
 * The device that all tests of a file share; requested at the first call, never disposed. It is not tuned: tests are
 * to be the same every time, and fast.
 */
export function sharedDevice(): Promise<Device> {
  return shared ??= requestDevice({ tune: false });
}

/**
 * A strided view of these values within a larger buffer whose every other element is NaN: before the
 * first, behind the last and between the rows of every axis. A kernel that reads beside the view, and
 * lets what it read count, gives NaN. The view starts at no multiple of 4 elements, and its rows lie at
 * no multiple of its sizes apart.
 *
 * @param device Where to make it.
 * @param values The elements in row-major order.
 * @param shape Shape of the view.
 * @param dtype A float type.
 */
export function nanPadded(
  device: Device,
  values: ArrayLike<number>,
  shape: readonly number[],
  dtype: DType = "f32",
): Tensor {
  const rank = shape.length;
  // One NaN before and one behind along every axis, two behind along the last.
  const padded = shape.map((size, axis) => size + (axis === rank - 1 ? 3 : 2));
  const strides = padded.map((_, axis) => product(padded.slice(axis + 1)));
  const corner = strides.reduce((sum, stride) => sum + stride, 0);
  const lead = 1 + (4 - corner % 4) % 4; // The first value then lies at 4 n + 1.
  const buffer = new Float32Array(lead + product(padded) + 1).fill(NaN);
  if (values.length !== product(shape)) {
    throw new RangeError(`Cannot pad ${values.length} values, expected ${product(shape)}`);
  }
  for (let i = 0; i < values.length; i++) {
    let rest = i;
    let position = lead + corner;
    for (let axis = rank - 1; axis >= 0; axis--) {
      position += (rest % shape[axis]!) * strides[axis]!;
      rest = Math.floor(rest / shape[axis]!);
    }
    buffer[position] = values[i]!;
  }
  return tidy(() => {
    let view = device.tensor(buffer, { dtype }).slice(0, lead, lead + product(padded)).reshape(
      padded,
    );
    for (let axis = 0; axis < rank; axis++) view = view.slice(axis, 1, 1 + shape[axis]!);
    return view;
  });
}

/**
 * Asserts that a function leaves no tensor, buffer or byte behind on the device. Garbage of other tests
 * may be collected meanwhile, so there may be less than before. A test that compares exact counts needs
 * a device on which no test leaves garbage, or nothing to wait for between the counts.
 */
export async function assertNoLeak(device: Device, fn: () => unknown): Promise<void> {
  const before = device.memory();
  await fn();
  const after = device.memory();
  for (const name of ["tensors", "buffers", "allocatedBytes"] as const) {
    assertLessOrEqual(after[name], before[name], `${name} after, and before`);
  }
}

function product(sizes: readonly number[]): number {
  return sizes.reduce((a, b) => a * b, 1);
}
