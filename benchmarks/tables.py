"""Figure and tables of the measurements in results/benchmarks/*.json."""

import json
from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.ticker import EngFormatter

from dwt.analysis.plot_style import save, theme

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


def rows(setting):
    """One Markdown table row per contestant."""
    for kind, timed in setting["contestants"].items():
        memory = f" {setting['memory'][kind] / 1e9:.1f} GB |" if "memory" in setting else ""
        yield (
            f"| {NAMES[kind]} | {timed['tokens_per_second'][0]:,.0f} | "
            f"{_range(timed['speedup'])} | {_range(timed['step_over_alone'])} | "
            f"{100 * timed['flops_share'][0]:.0f} % |{memory}"
        )


def _range(values):
    return f"{values[0]:.2f} ({values[1]:.2f} to {values[2]:.2f})"


def tables(results):
    """All tables of one device, as Markdown."""
    yield f"### {results['device']}"
    for shape, precisions in results["shapes"].items():
        for precision, setting in precisions.items():
            yield (
                f"\n**{shape}**, {precision}, batch {setting['batch']} x 128 tokens, "
                f"{setting['threads']} CPU threads; matrix rate "
                f"{setting['matrix_product_flops'] / 1e9:,.0f} GFLOP/s\n"
            )
            memory = "memory" in setting
            yield (
                "| | tokens/s | speed-up | step / alone | share of the matrix rate |"
                + " memory beyond the state |" * memory
            )
            yield "|---|---|---|---|---|" + "---|" * memory
            yield from rows(setting)
    if "memory" in results:
        yield from _sections(results)


def _sections(results):
    """What is measured once per device: memory, growth, compilation, profile."""
    memory, grow, code = results["memory"], results["growth"], results["compiling"]
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
        f"\n**Compiling** the student (laptop shape): {code['seconds_from_nothing']:.0f} s, "
        f"{code['seconds_from_disk']:.1f} s with cached code; saves "
        f"{1e3 * code['seconds_saved_per_step'][0]:.1f} ms a step, "
        f"{code['seconds_saved_per_1e12_flops']:.1f} s per 10^12 FLOPs."
    )
    yield "\n**Profile** (laptop shape, fp32, torch.profiler):\n"
    before, after = results["profile"]["naive"], results["profile"]["cached"]
    yield (
        f"| naive, {before['milliseconds_per_step']:.0f} ms a step | share | "
        f"cached, {after['milliseconds_per_step']:.0f} ms a step | share |"
    )
    yield "|---|---|---|---|"
    pairs = zip(before["shares"].items(), after["shares"].items(), strict=True)
    for (one, a), (two, b) in pairs:
        yield f"| `{one}` | {100 * a:.0f} % | `{two}` | {100 * b:.0f} % |"


def write_tables():
    """Write the tables of every measured device into benchmarks/README.md."""
    text = README.read_text(encoding="utf-8")
    start, end = text.index(BEGIN) + len(BEGIN), text.index(END)
    files = sorted((ROOT / "results" / "benchmarks").glob("*.json"))
    results = [json.loads(file.read_text(encoding="utf-8")) for file in files]
    devices = [each for each in results if "shapes" in each]  # others: finetune.json, whole.json
    body = "\n\n".join("\n".join(tables(each)) for each in devices)
    README.write_text(f"{text[:start]}\n\n{body}\n\n{text[end:]}", encoding="utf-8")


def draw(results, path):
    """Tokens per second of every contestant, one panel per shape."""
    theme()
    shapes = list(results["shapes"])
    timed = [setting for shape in results["shapes"].values() for setting in shape.values()]
    ran = {kind for setting in timed for kind in setting["contestants"]}
    kinds = [kind for kind in NAMES if kind in ran][::-1]
    figure, axes = plt.subplots(1, len(shapes), figsize=(7.2, 2.4), sharey=True)
    for axis, shape in zip(axes, shapes, strict=True):
        for place, precision in enumerate(results["shapes"][shape]):
            setting = results["shapes"][shape][precision]["contestants"]
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
        for precisions in results["shapes"].values() for setting in precisions.values()
    ]  # fmt: skip
    figure.suptitle(
        f"With a cached teacher a step takes {min(best):.1f} to {max(best):.1f} times as many "
        f"tokens per second as a Trainer's ({results['device']})"
    )
    save(figure, path)
    plt.close(figure)
