"""What will a scale cost? Said before anyone pays for it; nothing is trained or downloaded.

`python -m dwt.pipeline.cost_report --scale paper --accelerator H200` prints, for every arm and in all, parameters,
steps, tokens, operations, memory, disk, and the hours they take at an assumed rate.
"""

import argparse
import math
import sys
import time

import pandas as pd
import torch

from dwt.config.params import ParamsError, load_params
from dwt.pipeline.costs import cache_bytes, corpus_bytes, costs_of
from dwt.training.device import cores, set_threads

# Dense matrix products per second as the makers state them, bfloat16 with float32 sums and float32
# without TF32, in 10^12.
RATES = {
    "H200": {"bf16": 989, "fp32": 67},
    "H100": {"bf16": 989, "fp32": 67},
    "A100": {"bf16": 312, "fp32": 19.5},
    "L40S": {"bf16": 362, "fp32": 91.6},
    "RTX-4090": {"bf16": 165, "fp32": 82.6},
    "RTX-3090": {"bf16": 71, "fp32": 35.6},
}
# Share of the rate that a step reaches. On a CPU measured (benchmarks/README.md: 0.55 to 0.78 of
# the best product); on a GPU a guess, to be replaced by the first minute of a run.
UTILISATION = {"cpu": 0.55, "gpu": 0.35}
# Guesses too: Python starts some thousand kernels for one step of six layers, however little each
# has to do; and all runs of an arm are one process, its evaluation is another.
STEP_SECONDS = {"cpu": 0.0, "gpu": 0.01}
START_SECONDS = 15


def hours(costs, seeds, *, rate, kind, devices=1):
    """Hours on the clock: runs side by side, one on each device.

    Parameters
    ----------
    costs : DataFrame
        From `dwt.pipeline.costs.costs_of`.
    seeds : int
    rate : float
        Operations per second that are reached.
    kind : {"gpu", "cpu"}
    devices : int

    Returns
    -------
    dict
        Hours of "pre-training", "scoring", "starting" and, in all, "total": at least the longest
        chain of a teacher, its student and the student's evaluation, with all seeds of each.
    """
    floor = STEP_SECONDS[kind]
    flops = costs.student_flops + costs.teacher_flops + costs.watch_flops
    train = (flops / rate).clip(lower=floor * costs.steps)
    score = (costs.evaluate_flops / rate).clip(lower=floor * costs.evaluate_steps)
    # One process trains all seeds of an arm and one evaluates them; one more is the baseline's.
    starts = START_SECONDS * (2 * len(costs) + 1)
    parts = {
        "pre-training": seeds * train.sum(),
        "scoring": seeds * (score.sum() + score["scratch"]),
        "starting": starts,
    }
    alone, taught = (train[costs.kind == k].max() for k in ("standalone", "student"))
    chain = seeds * (alone + (0 if math.isnan(taught) else taught) + score.max())
    total = max(sum(parts.values()) / devices, chain)
    return {name: seconds / 3600 for name, seconds in {**parts, "total": total}.items()}


def measured_rate(precision, threads):
    """Operations per second of a large matrix product on this machine's CPU."""
    set_threads(threads)
    a = torch.randn(2048, 2048, dtype=torch.bfloat16 if precision == "bf16" else None)
    best = float("inf")
    for _ in range(3):
        started = time.perf_counter()
        a @ a
        best = min(best, time.perf_counter() - started)
    return 2 * 2048**3 / best


def report(params, *, rate, share, name, kind, devices=1):
    """All of it as text; `share` is the part of `rate` (operations per second) that is reached."""
    costs, seeds, train = costs_of(params), len(params.seeds), params.settings.train
    every = seeds * costs.sum(numeric_only=True)
    took = hours(costs, seeds, rate=rate * share, kind=kind, devices=devices)
    shown = pd.DataFrame({
        "parameters, M": (costs.parameters / 1e6).map("{:.2f}".format),
        "student, PFLOP": (costs.student_flops / 1e15).map(_number),
        "teacher, PFLOP": (costs.teacher_flops / 1e15).map(_number),
        "scoring, PFLOP": (costs.evaluate_flops / 1e15).map(_number),
        "memory, GB": (costs.memory / 1e9).map(_number),
        "disk, GB": (costs.disk / 1e9).map(_number),
    })  # fmt: skip
    shown.index.name = "one seed of"
    text, states = corpus_bytes(params), cache_bytes(costs, params)
    kept = min(states, params.cache.limit_gb * 1e9) if params.cache.teacher == "auto" else 0
    going_on = costs.resume.max() * devices
    disk = every.disk + kept + going_on + (text or 0)
    flops = {
        "students": every.student_flops, "teachers": every.teacher_flops,
        "held-out losses": every.watch_flops, "scoring": every.evaluate_flops,
    }  # fmt: skip
    lines = [
        f"Scale {params.scale}: {len(costs)} models x {seeds} seeds = {seeds * len(costs)} runs of "
        f"{train.steps:,} steps x {train.batch} sequences x {train.length} tokens = "
        f"{_number(costs.tokens.iloc[0] / 1e6)} million tokens each, {train.precision}.",
        "",
        *_markdown(shown),
        "",
        "Operations, PFLOP: "
        + ", ".join(f"{name} {_number(n / 1e15)}" for name, n in flops.items())
        + f"; fine-tuning takes {every.evaluate_steps:,.0f} steps.",
        f"Disk, GB: {_number(disk / 1e9)}: runs {_number(every.disk / 1e9)}, token ids "
        f"{'not known before they are made' if text is None else _number(text / 1e9)}, teachers' "
        f"states {_number(kept / 1e9)} (all would be {_number(states / 1e9)}), checkpoints of runs "
        f"in progress {_number(going_on / 1e9)}.",
        f"Time: {_number(took['total'])} h on {devices} x {name}, at {share:.0%} of "
        f"{_number(rate / 1e12)} TFLOP/s; in device-hours: pre-training "
        f"{_number(took['pre-training'])}, scoring {_number(took['scoring'])}, starting processes "
        f"{_number(took['starting'])}.",
    ]
    if kind == "gpu":
        lines.append(
            f"Assumed, not measured: {share:.0%}, {STEP_SECONDS['gpu'] * 1e3:.0f} ms as the least "
            f"that a step takes, {START_SECONDS} s to start a process."
        )
    return "\n".join(lines)


def _number(x):
    """Three digits, no exponent."""
    return f"{x:,.0f}" if abs(x) >= 100 else f"{float(f'{x:.3g}'):.10f}".rstrip("0").rstrip(".")


def _markdown(frame):
    """Lines of a table; the first column to the left, the others to the right."""
    yield f"| {' | '.join([frame.index.name, *frame])} |"
    yield f"|---|{'---:|' * frame.shape[1]}"
    for row in frame.itertuples():
        yield f"| {' | '.join(row)} |"


def main():
    parser = argparse.ArgumentParser(prog="python -m dwt.pipeline.cost_report", description=__doc__)
    parser.add_argument("--scale", help="by default the scale named in params.yaml")
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--accelerator",
        choices=[*RATES, "cpu"],
        default="cpu",
        help="cpu, the default, is this machine, timed by a matrix product",
    )
    where.add_argument("--flops-per-second", type=float, help="peak of some other accelerator")
    parser.add_argument("--utilisation", type=float, help="share of the peak that is reached")
    parser.add_argument("--devices", type=int, help="runs side by side, one on each")  # fmt: skip
    asked = parser.parse_args()
    for key in ("flops_per_second", "utilisation", "devices"):
        value = getattr(asked, key)
        if value is not None and not value > 0 or key == "utilisation" and (value or 0) > 1:
            parser.error(f"--{key.replace('_', '-')}: {value} is out of range")
    try:
        params = load_params()
        if asked.scale:
            if asked.scale not in params.scales:
                raise ParamsError(
                    f"--scale: '{asked.scale}' is not in params.yaml; choose one of "
                    f"{', '.join(params.scales)}"
                )
            params = params.model_copy(update={"scale": asked.scale})
        train, kind, devices = params.settings.train, "gpu", asked.devices or 1
        if asked.flops_per_second:
            name, rate = "an accelerator", asked.flops_per_second
        elif asked.accelerator != "cpu":
            name, rate = asked.accelerator, RATES[asked.accelerator][train.precision] * 1e12
        else:
            kind, threads = "cpu", train.threads
            name = f"{cores() if threads == 'auto' else threads} core(s) of this machine"
            devices = asked.devices or (1 if threads == "auto" else max(1, cores() // threads))
            rate = measured_rate(train.precision, threads)
        share = asked.utilisation or UTILISATION[kind]
        print(report(params, rate=rate, share=share, name=name, kind=kind, devices=devices))
    except ParamsError as fault:
        sys.exit(str(fault))


if __name__ == "__main__":
    main()
