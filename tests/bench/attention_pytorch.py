"""Times PyTorch's scaled_dot_product_attention on the cases of `deno task bench`, on a CUDA device.

    deno run -A --no-lock tests/bench/main.ts --list > cases.json
    python3 tests/bench/attention_pytorch.py cases.json [--only TEXT] [--quick] [--out FILE]

Each case runs on every backend; those that cannot run it say so. Times are medians, by CUDA events, of
calls one behind the other. TFLOP/s count the cells that the mask leaves: 4 K operations a cell forward,
14 K in training (forward and backward), as `attentionFlops` does. EFFICIENT_ATTENTION in f32 computes on
tensor cores by three TF32 products where the card has them.
"""

import argparse
import json
import statistics

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention

BACKENDS = {
    "EFFICIENT": SDPBackend.EFFICIENT_ATTENTION,
    "FLASH": SDPBackend.FLASH_ATTENTION,
    "MATH": SDPBackend.MATH,
}
DTYPES = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}
BIASES = ("bias", "bias with gradient")
VARIANTS = ("none", "causal", "dropout", *BIASES)
DEVICE = "cuda"

# As in measure.ts: how long a run of calls is, in ms, how many calls it has at most, how many runs there are.
RUN_MS, MAX_CALLS, RUNS = 20, 40, 5


class Case:
    """One case on the device; `call()` enqueues it once."""

    def __init__(self, case):
        self.case = case
        b, h, hkv, k = (case[name] for name in ("B", "H", "Hkv", "K"))
        dtype = DTYPES[case["dtype"]]
        torch.manual_seed(1)

        def heads(length, count):
            # Stored as [B, M, H, K], as this package has it.
            stored = torch.randn(b, length, count, k, device=DEVICE, dtype=dtype)
            return stored.transpose(1, 2)

        self.query = heads(case["Mq"], h)
        self.key, self.value = heads(case["Mkv"], hkv), heads(case["Mkv"], hkv)
        self.gradient = heads(case["Mq"], h)
        self.is_training = case["pass"] == "training"
        self.leaves = [self.query, self.key, self.value]
        self.options = {"is_causal": case["variant"] == "causal", "enable_gqa": h != hkv}
        if case["variant"] == "dropout":
            self.options["dropout_p"] = 0.3
        if case["variant"] in BIASES:
            bias = torch.randn(1, h, case["Mq"], case["Mkv"], device=DEVICE, dtype=dtype)
            if case["variant"] == "bias with gradient":
                self.leaves.append(bias.requires_grad_())
            self.options["attn_mask"] = bias.expand(b, -1, -1, -1)
        if self.is_training:
            for leaf in self.leaves:
                leaf.requires_grad_()

    def call(self):
        """Enqueues one call."""
        out = scaled_dot_product_attention(self.query, self.key, self.value, **self.options)
        if self.is_training:
            torch.autograd.grad(out, self.leaves, self.gradient)

    @property
    def flops(self):
        """Operations of a call, by the cells that the mask leaves."""
        case = self.case
        pairs = case["Mq"] * case["Mkv"]
        if case["variant"] == "causal":
            pairs = sum(min(i + 1, case["Mkv"]) for i in range(case["Mq"]))
        return (14 if self.is_training else 4) * case["K"] * case["B"] * case["H"] * pairs


def elapsed_ms(call, calls):
    """Time of one call in a run of several."""
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    begin.record()
    for _ in range(calls):
        call()
    end.record()
    torch.cuda.synchronize()
    return begin.elapsed_time(end) / calls


def measure(description, backend):
    """Time, rate and memory of a case on a backend, or why there is none."""
    try:
        case = Case(description)
        with sdpa_kernel(backend):
            torch.cuda.reset_peak_memory_stats()
            for _ in range(3):
                once = elapsed_ms(case.call, 1)
            calls = min(MAX_CALLS, max(1, round(RUN_MS / once)))
            time = statistics.median(elapsed_ms(case.call, calls) for _ in range(RUNS))
    except RuntimeError as error:  # Out of memory is one of them.
        return {"reason": str(error).split("\n")[0]}
    peak = torch.cuda.max_memory_allocated()
    return {"gpuMs": time, "tflops": case.flops / time / 1e9, "peakBytes": peak}


def chosen(cases, only, quick):
    """The cases to run: those that the function has arguments for."""
    for case in cases:
        if only in case["name"] and (case["quick"] or not quick) and case["variant"] in VARIANTS:
            yield case


def main():
    """Runs all cases and prints a line for each backend."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("cases", help="what main.ts --list printed")
    parser.add_argument("--only", default="", help="only cases whose name contains this")
    parser.add_argument("--quick", action="store_true", help="a few cases of each set")
    parser.add_argument("--out", help="write the results as JSON")
    args = parser.parse_args()
    with open(args.cases, encoding="utf-8") as file:
        cases = list(chosen(json.load(file), args.only, args.quick))
    name = torch.cuda.get_device_name()
    print(f"{name}, PyTorch {torch.__version__}, CUDA {torch.version.cuda}")
    rows = []
    for case in cases:
        for backend, kind in BACKENDS.items():
            result = measure(case, kind)
            torch.cuda.empty_cache()
            rows.append({"name": case["name"], "backend": backend, **result})
            line = f"{case['name']:<66} {backend:<10}"
            if "reason" in result:
                print(f"{line} {result['reason'][:80]}", flush=True)
                continue
            mib = result["peakBytes"] / 2**20
            print(f"{line} {result['gpuMs']:9.4f} ms {result['tflops']:8.2f} TFLOP/s {mib:8.0f} MiB", flush=True)
    if args.out:
        versions = {"pytorch": torch.__version__, "cuda": torch.version.cuda}
        with open(args.out, "w", encoding="utf-8") as file:
            json.dump({"adapter": name, "versions": versions, "rows": rows}, file, indent=2)
            file.write("\n")


if __name__ == "__main__":
    main()
