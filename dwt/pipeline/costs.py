"""FLOPs, memory, disk and hours of a scale before it is run.

`python -m dwt.pipeline.costs --scale paper --accelerator H200 --devices 8` prints them for one seed
of every arm and in all. Nothing is trained or downloaded.
"""

import argparse
import math
import sys
import timeit
from collections.abc import Sequence

import pandas as pd
import torch

from dwt.config.params import ParamsError, load_params
from dwt.config.schema import Params
from dwt.pipeline.cost_model import arm_costs, cache_bytes, corpus_bytes
from dwt.training.device import cores, set_threads

# Peak of dense matrix products in TFLOP/s by the makers' data sheets: bfloat16 with float32 sums,
# and float32 without TF32.
PEAK_TFLOPS = {
    "H200": {"bf16": 989, "fp32": 67}, "H100": {"bf16": 989, "fp32": 67},
    "A100": {"bf16": 312, "fp32": 19.5}, "L40S": {"bf16": 362, "fp32": 91.6},
    "RTX-4090": {"bf16": 165, "fp32": 82.6}, "RTX-3090": {"bf16": 71, "fp32": 35.6},
}  # fmt: skip
# Model FLOPs utilisation. cpu: 0.55 to 0.78 of the best matrix product were measured
# (benchmarks/README.md). gpu: uncompiled steps on an H200 reached 28 % (paper's shape) and 16 %
# (gpu's) of its own matrix products at 783 TFLOP/s, so 22 % and 13 % of its peak
# (results/benchmarks/h200.json). Compiled steps were not measured.
MFU = {"cpu": 0.55, "gpu": 0.22}
# Assumptions: six layers start about a thousand kernels per step, and one process per training run
# and per evaluated arm has to start.
STEP_SECONDS = {"cpu": 0.0, "gpu": 0.01}
START_SECONDS = 15


def hours(
    costs: pd.DataFrame, seeds: int, *, flops_per_second: float, kind: str, devices: int = 1
) -> dict[str, float]:
    """Hours of all runs at a reached rate (peak times MFU), one run at a time on each device.

    `costs` is from `arm_costs`, `kind` is "gpu" or "cpu". "pre-training", "scoring" and "starting"
    are device-hours. "total" is wall-clock time, at least the longest chain of a teacher, its
    student and the scoring of all seeds of that student.
    """
    floor = STEP_SECONDS[kind]
    train_flops = costs.student_flops + costs.teacher_flops + costs.heldout_flops
    train = (train_flops / flops_per_second).clip(lower=floor * costs.steps)
    score = (costs.evaluate_flops / flops_per_second).clip(lower=floor * costs.evaluate_steps)
    parts = {
        "pre-training": seeds * train.sum(),
        "scoring": seeds * (score.sum() + score["scratch"]),  # once more with random weights
        "starting": START_SECONDS * (seeds * len(costs) + len(costs) + 1),
    }
    longest = train.groupby(costs.kind).max()  # of a teacher, and of a student if there is one
    chain = longest.sum() + seeds * score.max()
    total = max(sum(parts.values()) / devices, chain)
    return {name: seconds / 3600 for name, seconds in {**parts, "total": total}.items()}


def report(params: Params, *, peak: float, mfu: float, name: str, kind: str, devices: int) -> str:
    """The costs of the current scale as Markdown, on devices with a peak in FLOPs per second."""
    costs, seeds, train = arm_costs(params), len(params.seeds), params.settings.train
    every = seeds * costs.sum(numeric_only=True)
    of_part = hours(costs, seeds, flops_per_second=peak * mfu, kind=kind, devices=devices)
    flops = costs[["student_flops", "teacher_flops", "evaluate_flops"]] / 1e15
    table = flops.join(costs[["memory", "disk"]] / 1e9).map(_number)
    table.insert(0, "parameters", (costs.parameters / 1e6).map("{:.2f}".format))
    tokens, states = corpus_bytes(params), cache_bytes(costs, params)
    cached = min(states, params.cache.limit_gb * 1e9) if params.cache.teacher == "auto" else 0
    checkpoints = costs.checkpoint.max() * devices
    disk = every.disk + cached + checkpoints + (tokens or 0)
    peta = (every / 1e15).map(_number)
    lines = [
        f"Scale {params.scale}: {len(costs)} models x {seeds} seeds = {seeds * len(costs)} runs of "
        f"{train.steps:,} steps x {train.batch} sequences x {train.length} tokens = "
        f"{_number(costs.tokens.iloc[0] / 1e6)} million tokens each, {train.precision}.",
        "",
        "| one seed of | parameters, M | student, PFLOP | teacher, PFLOP | scoring, PFLOP "
        "| memory, GB | disk, GB |",
        "|---|---:|---:|---:|---:|---:|---:|",
        *(f"| {' | '.join(row)} |" for row in table.itertuples()),
        "",
        f"PFLOP in all: students {peta.student_flops}, teachers {peta.teacher_flops}, held-out "
        f"losses {peta.heldout_flops}, scoring {peta.evaluate_flops}; fine-tuning takes "
        f"{every.evaluate_steps:,.0f} steps.",
        f"Disk in GB: {_number(disk / 1e9)}; runs {_number(every.disk / 1e9)}, token ids "
        f"{'unknown until they are made' if tokens is None else _number(tokens / 1e9)}, teacher "
        f"cache {_number(cached / 1e9)} (without its limit {_number(states / 1e9)}), checkpoints "
        f"{_number(checkpoints / 1e9)}.",
        f"Time: {_number(of_part['total'])} h on {devices} x {name} at {mfu:.0%} MFU of "
        f"{_number(peak / 1e12)} TFLOP/s; device-hours: pre-training "
        f"{_number(of_part['pre-training'])}, scoring {_number(of_part['scoring'])}, starting "
        f"processes {_number(of_part['starting'])}.",
    ]
    if kind == "gpu":
        lines.append(
            f"Assumed: {mfu:.0%} MFU, at least {STEP_SECONDS['gpu'] * 1e3:.0f} ms per step, "
            f"{START_SECONDS} s per process. Measured: 22% MFU at the paper's shape and 13% at "
            "that of gpu, uncompiled on an H200 (results/benchmarks/h200.json)."
        )
    return "\n".join(lines)


def _number(x: float) -> str:
    """Three digits, no exponent."""
    return f"{x:,.0f}" if abs(x) >= 100 else f"{float(f'{x:.3g}'):.10f}".rstrip("0").rstrip(".")


def main(argv: Sequence[str] | None = None) -> None:
    """Print the report that the command line asks for."""
    summary = __doc__.splitlines()[0]
    parser = argparse.ArgumentParser("python -m dwt.pipeline.costs", description=summary)
    parser.add_argument("--scale", help="by default the scale named in params.yaml")
    which = "cpu, the default, is this machine, measured by a matrix product"
    names = {name.lower(): name for name in [*PEAK_TFLOPS, "cpu"]}
    parser.add_argument(
        "--accelerator", choices=[*names.values()], default="cpu", help=which,
        type=lambda name: names.get(name.lower(), name),
    )  # fmt: skip
    parser.add_argument("--mfu", type=float, help="share of the peak that is reached, in (0, 1]")
    parser.add_argument("--devices", type=int, help="runs at once, one on each device")
    given = parser.parse_args(argv)
    for key, limit in (("mfu", 1), ("devices", math.inf)):
        value = getattr(given, key)
        if value is not None and not 0 < value <= limit:
            parser.error(f"--{key}: {value} is out of range")
    try:
        params = load_params(scale=given.scale)
        train, kind, devices = params.settings.train, "gpu", given.devices or 1
        if (name := given.accelerator) != "cpu":
            peak = PEAK_TFLOPS[name][train.precision] * 1e12
        else:
            kind, threads = "cpu", train.threads
            name = f"{cores() if threads == 'auto' else threads} core(s) of this machine"
            devices = given.devices or (1 if threads == "auto" else max(1, cores() // threads))
            set_threads(threads)
            a = torch.randn(2048, 2048, dtype=torch.bfloat16 if train.precision == "bf16" else None)
            peak = 2 * 2048**3 / min(timeit.repeat(lambda: a @ a, repeat=3, number=1))
        mfu = given.mfu or MFU[kind]
        print(report(params, peak=peak, mfu=mfu, name=name, kind=kind, devices=devices))
    except ParamsError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
