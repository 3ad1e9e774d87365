"""How do the measurements read? The figure and the tables, from results/benchmarks/*.json."""

import json
from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.ticker import EngFormatter

from dwt.analysis import plots

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "benchmarks" / "README.md"
BEGIN, END = "<!-- tables: written by `make bench` -->", "<!-- end of tables -->"
NAMES = {
    "naive": "naive: Trainer, both models on every position",
    "online": "dwt, teacher computed at each step",
    "cached": "dwt, teacher from the cache",
    "alone": "dwt, student without a teacher",
    "liger": "dwt, teacher computed, Liger's fused loss",
}


def rows(found, shape, precision):
    """One Markdown table row per contestant."""
    setting = found["shapes"][shape][precision]
    for kind, it in setting["contestants"].items():
        memory = f" {setting['memory'][kind] / 1e9:.1f} GB |" if "memory" in setting else ""
        yield (
            f"| {NAMES[kind]} | {it['tokens_per_second'][0]:,.0f} | {_range(it['speedup'])} | "
            f"{_range(it['step_over_alone'])} | {100 * it['flops_share'][0]:.0f} % |{memory}"
        )


def _range(values):
    return f"{values[0]:.2f} ({values[1]:.2f} to {values[2]:.2f})"


def tables(found):
    """All tables of one device, as Markdown."""
    yield f"### {found['device']}"
    for shape, precisions in found["shapes"].items():
        for precision, setting in precisions.items():
            yield (
                f"\n**{shape}**, {precision}, batch {setting['batch']} x 128 tokens, "
                f"{setting['threads']} CPU threads; matrix products reach "
                f"{setting['matrix_product_flops'] / 1e9:,.0f} GFLOP/s\n"
            )
            memory = "memory" in setting
            yield (
                "| | tokens/s | speed-up | step / alone | of the products' rate |"
                + " memory beyond the state |" * memory
            )
            yield "|---|---|---|---|---|" + "---|" * memory
            yield from rows(found, shape, precision)
    if "memory" in found:
        yield from _sections(found)


def _sections(found):
    """What is measured once a device: memory, growth, compiling, where the time goes."""
    memory, grow, code = found["memory"], found["growth"], found["compiling"]
    size = {kind: bytes_ / 1e9 for kind, bytes_ in memory["bytes"].items()}
    yield (
        f"\n**Memory** beyond weights, gradients and optimizer state ({memory['shape']} shape, "
        f"batch {memory['batch']}, {memory['precision']}): "
        + ", ".join(f"{kind} {gigabytes:.2f} GB" for kind, gigabytes in size.items())
        + f"; cached / naive {size['cached'] / size['naive']:.2f}."
    )
    yield (
        f"\n**Growth** (laptop shape): twice the steps take "
        f"{_range(grow['seconds_of_twice_the_steps'])} times as long, twice the text "
        f"{_range(grow['seconds_with_twice_the_text'])} times; memory after "
        f"{grow['steps_between']} more steps is {grow['memory_after_over_before']:.2f} times what "
        "it was."
    )
    yield (
        f"\n**Compiling** the student (laptop shape): {code['seconds_from_nothing']:.0f} s from "
        f"nothing, {code['seconds_from_disk']:.1f} s from code on disk; saves "
        f"{1e3 * code['seconds_saved_per_step'][0]:.1f} ms a step, "
        f"{code['seconds_saved_per_1e12_flops']:.1f} s per 10^12 operations."
    )
    yield "\n**Where the time goes** (laptop shape, fp32, torch.profiler):\n"
    before, after = found["profile"]["naive"], found["profile"]["cached"]
    yield (
        f"| naive, {before['milliseconds_per_step']:.0f} ms a step | share | "
        f"cached, {after['milliseconds_per_step']:.0f} ms a step | share |"
    )
    yield "|---|---|---|---|"
    pairs = zip(before["shares"].items(), after["shares"].items(), strict=True)
    for (one, a), (two, b) in pairs:
        yield f"| `{one}` | {100 * a:.0f} % | `{two}` | {100 * b:.0f} % |"


def write_tables():
    """Put the tables of every measured device between the marks of benchmarks/README.md."""
    text = README.read_text(encoding="utf-8")
    start, end = text.index(BEGIN) + len(BEGIN), text.index(END)
    files = sorted((ROOT / "results" / "benchmarks").glob("*.json"))
    found = [json.loads(file.read_text(encoding="utf-8")) for file in files]
    devices = [each for each in found if "shapes" in each]  # finetune.json lies there, too
    body = "\n\n".join("\n".join(tables(each)) for each in devices)
    README.write_text(f"{text[:start]}\n\n{body}\n\n{text[end:]}", encoding="utf-8")


def draw(found, path):
    """Tokens per second of every contestant, one panel per shape."""
    plots.theme()
    shapes = list(found["shapes"])
    timed = [setting for shape in found["shapes"].values() for setting in shape.values()]
    ran = {kind for setting in timed for kind in setting["contestants"]}
    kinds = [kind for kind in NAMES if kind in ran][::-1]
    figure, axes = plt.subplots(1, len(shapes), figsize=(7.2, 2.4), sharey=True)
    for axis, shape in zip(axes, shapes, strict=True):
        for place, precision in enumerate(found["shapes"][shape]):
            setting = found["shapes"][shape][precision]["contestants"]
            here = [kind for kind in kinds if kind in setting]
            rates = [setting[kind]["tokens_per_second"] for kind in here]
            y = [kinds.index(kind) + 0.18 - 0.36 * place for kind in here]
            middle = [r[0] for r in rates]
            spread = [[r[0] - r[1] for r in rates], [r[2] - r[0] for r in rates]]
            axis.barh(y, middle, height=0.34, xerr=spread, label=precision,
                      color=("#404040", "#b0b0b0")[place], error_kw={"lw": 0.8})  # fmt: skip
            for where, rate, kind in zip(y, middle, here, strict=True):
                speedup = setting[kind]["speedup"][0]
                axis.annotate(f" {speedup:.1f}x", (rate, where), va="center", fontsize=7,
                              xytext=(4, 0), textcoords="offset points")  # fmt: skip
        axis.set_yticks(range(len(kinds)), kinds)
        axis.set_title(f"{shape} shape")
        axis.set_xlabel("tokens per second")
        axis.set_xlim(right=1.25 * axis.get_xlim()[1])
        axis.xaxis.set_major_formatter(EngFormatter(sep=""))
    figure.legend(*axes[0].get_legend_handles_labels(), frameon=False, loc="outside lower right",
                  ncols=2)  # fmt: skip
    best = [
        setting["contestants"]["cached"]["speedup"][0]
        for precisions in found["shapes"].values() for setting in precisions.values()
    ]  # fmt: skip
    figure.suptitle(
        f"With a cached teacher a step takes {min(best):.1f} to {max(best):.1f} times as many "
        f"tokens per second as a Trainer's ({found['device']})"
    )
    plots.save(figure, path)
    plt.close(figure)
