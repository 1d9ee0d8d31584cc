/**
 * A device whose memory runs out on demand. A driver says so in the innermost scope for being out of memory, and gives
 * a buffer that is of no use: every command that mentions it is refused.
 */

const FILTERS = ["validation", "out-of-memory", "internal"] as const;

/** Which allocation fails, counted from now; `Infinity` for none. */
export class FailingMemory {
  readonly #scopes: { readonly filter: GPUErrorFilter; failed: boolean }[] = [];
  #made = 0;
  #failsAt = Infinity;

  /**
   * Takes the place of the device's own methods.
   *
   * @param gpu The device.
   * @param isWatched Whether a fault log has its scopes open already.
   */
  constructor(gpu: GPUDevice, isWatched = true) {
    const createBuffer = gpu.createBuffer.bind(gpu);
    const push = gpu.pushErrorScope.bind(gpu);
    const pop = gpu.popErrorScope.bind(gpu);
    for (const filter of isWatched ? FILTERS : []) {
      this.#scopes.push({ filter, failed: false });
    }
    gpu.pushErrorScope = (filter) => {
      this.#scopes.push({ filter, failed: false });
      push(filter);
    };
    gpu.popErrorScope = async () => {
      const scope = this.#scopes.pop()!;
      const error = await pop();
      return scope.failed ? { message: "no room" } as GPUError : error;
    };
    gpu.createBuffer = (descriptor) => {
      if (this.#made++ !== this.#failsAt) return createBuffer(descriptor);
      this.#scopes.findLast(({ filter }) => filter === "out-of-memory")!.failed = true;
      return this.#invalidBuffer(() => createBuffer({ ...descriptor, usage: 0 }), push, pop);
    };
  }

  /** How many buffers were made since {@linkcode failAt} was called. */
  get made(): number {
    return this.#made;
  }

  /** Lets the buffer of this number fail, counted from 0 and from now. */
  failAt(number: number): void {
    this.#made = 0;
    this.#failsAt = number;
  }

  /** No usage makes it invalid; that this is so is nobody's news. */
  #invalidBuffer(
    make: () => GPUBuffer,
    push: GPUDevice["pushErrorScope"],
    pop: GPUDevice["popErrorScope"],
  ): GPUBuffer {
    push("validation");
    const buffer = make();
    pop().catch(() => {});
    return buffer;
  }
}
