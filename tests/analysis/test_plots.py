"""Figures: the same look for the same arm, every seed drawn, titles that follow the numbers."""

import re
import subprocess
import sys
from types import SimpleNamespace

import matplotlib
import matplotlib.collections

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from dwt.analysis import comparisons as findings
from dwt.analysis import plot_style as look
from dwt.analysis import plots

ARMS = ["scratch", "normal", "very-weak", "extremely-weak"]
TEACHERS = [None, "weak-teacher", "very-weak-teacher", "extremely-weak-teacher"]
SQUARE = ["scratch", "normal", "remapped", "remapped-hard"]


def made_up_runs(seeds=(0, 1, 2), sign=1):
    """Losses whose gain falls (sign 1) or rises (-1) with the gap, zero at 0.4."""
    rows = []
    for seed in seeds:
        noise = np.random.default_rng(seed).normal(0, 0.002, 9)
        for teacher, gap in zip(TEACHERS[1:], (0.1, 0.2, 0.6), strict=True):
            rows.append((teacher, seed, 4 + gap + noise[0], None, 0.0, None))
        for arm, teacher, gap in zip(ARMS, TEACHERS, (0.4, 0.1, 0.2, 0.6), strict=True):
            loss = 4 - sign * 0.5 * (0.4 - gap) + noise[len(arm) % 9]
            rows.append((arm, seed, loss, teacher, 1.0 if teacher else 0.0, None))
        rows.append(("remapped", seed, 3.7 + noise[7], "weak-teacher", 1.0, "repeat-last"))
        rows.append(("remapped-hard", seed, 3.4 + noise[8], "weak-teacher", 0.0, "repeat-last"))
    columns = ["arm", "seed", "heldout_loss", "teacher", "soft_weight", "remap"]
    return pd.DataFrame(rows, columns=columns).assign(layers=6)


def made_up_curves(runs):
    frames = []
    for row in runs.itertuples():
        step = np.arange(1, 9) * 10
        loss = row.heldout_loss + (80 - step) / 40 * (1.1 if row.arm == "normal" else 1)
        taught = row.soft_weight > 0
        frames.append(pd.DataFrame({"step": step, "heldout_loss": loss}).assign(
            arm=row.arm, seed=row.seed, soft_weight=row.soft_weight,
            gradient_ratio=0.5 if taught else np.nan, gradient_cosine=0.3 if taught else np.nan,
        ))  # fmt: skip
    return pd.concat(frames, ignore_index=True)


@pytest.fixture
def axis():
    plots.theme()
    _, axis = plt.subplots()
    yield axis
    plt.close("all")


def drawn_points(axis):
    """Every point of every scatter, [points, 2]."""
    scatters = axis.findobj(matplotlib.collections.PathCollection)
    return np.vstack([scatter.get_offsets() for scatter in scatters])


def words(axis):
    return axis.get_title(loc="left").replace("\n", " ")


def test_no_two_arms_look_alike_even_in_grey():
    looks = look.styles(look.ARMS)
    assert len({style.marker for style in looks.values()}) == len(look.ARMS)
    assert len({(style.color, style.marker) for style in looks.values()}) == len(look.ARMS)


def test_an_arm_keeps_its_look_whoever_it_is_drawn_with():
    assert look.styles(["strong"])["strong"] == look.styles(look.ARMS)["strong"]
    assert look.styles(["new", "normal"])["normal"] == look.styles(["normal"])["normal"]


def test_unknown_arms_get_looks_of_their_own_in_order():
    looks = look.styles([*look.ARMS, "first", "second"])
    assert len({*looks.values()}) == len(look.ARMS) + 2
    assert looks["first"] == look.styles(["first"])["first"]


def test_every_font_is_at_least_eight_points(axis):
    assert all(
        size >= 8 for key, size in look.RC.items() if key.endswith(("size", "labelsize"))
        if "marker" not in key
    )  # fmt: skip
    plots.gain_against_gap(made_up_runs(), ARMS, axis)
    axis.figure.draw_without_rendering()
    assert min(text.get_fontsize() for text in axis.figure.findobj(plt.Text)) >= 8


def test_the_gap_figure_draws_every_seed_where_it_lies(axis):
    runs = made_up_runs()
    plots.gain_against_gap(runs, ARMS, axis)
    loss = runs.pivot(index="seed", columns="arm", values="heldout_loss")
    points = drawn_points(axis)
    for arm, teacher in zip(ARMS[1:], TEACHERS[1:], strict=True):
        for seed in loss.index:
            at = loss[teacher] - loss["scratch"], loss["scratch"] - loss[arm]
            distance = np.abs(points - [series[seed] for series in at]).max(axis=1)
            assert distance.min() < 1e-9


@pytest.mark.parametrize(
    ("sign", "said"), [(1, r"while it is less than 0\.[34]"), (-1, r"once it is more than 0\.[34]")]
)
def test_the_gap_title_turns_with_the_data(axis, sign, said):
    plots.gain_against_gap(made_up_runs(sign=sign), ARMS, axis)
    assert re.search(said + r".* nats .*95 % interval .*3 seeds", words(axis))


def test_one_seed_draws_and_says_that_it_is_one(axis):
    plots.gain_against_gap(made_up_runs(seeds=[0]), ARMS, axis)
    assert "one seed, no interval" in words(axis)


def test_the_square_says_helps_and_harms_as_the_numbers_do(axis):
    plots.remapping_square(made_up_runs(), SQUARE, axis)
    assert "helps a random start and harms a remapped one" in words(axis)
    axis.clear()
    plots.remapping_square(made_up_runs(sign=-1), SQUARE, axis)
    assert "harms a random start and harms a remapped one" in words(axis)


def test_the_lead_marks_where_curves_cross(axis):
    runs = made_up_runs()
    curves = made_up_curves(runs)
    plots.lead(runs, curves, ["scratch", "normal", "very-weak"], axis)
    assert "very-weak ends behind" in words(axis)
    crossings = [line for line in axis.lines if line.get_marker() == "|"]
    assert sorted(crossings[0].get_xdata()) == sorted(
        findings.crossings(curves, "very-weak", "normal")
    )
    assert axis.get_xlabel() and "normal" in axis.get_ylabel()


def test_the_effective_weight_leaves_out_arms_without_a_soft_loss(axis):
    axes = axis.figure.subplots(1, 2)
    plots.effective_weight(made_up_curves(made_up_runs()), ARMS, axes)
    assert "normal 0.50 → 0.50" in words(axes[0]) and "scratch" not in words(axes[0])


def test_the_best_arm_is_named_with_its_distance_to_the_next(axis):
    runs = made_up_runs()
    plots.loss_curves(runs, made_up_curves(runs), ARMS, axis)
    assert words(axis).startswith("normal ends lowest") and "against very-weak" in words(axis)


def test_scales_are_one_row_each_with_the_panels_of_the_summary(monkeypatch):
    plots.theme()
    factors = {"teacher-quality": ARMS, "loss-weight": ARMS[:3], "parameter-remapping": SQUARE}
    tables = {}
    for scale, sign in (("small", 1), ("large", -1)):
        runs = made_up_runs(sign=sign)
        tables[scale] = {"runs": runs, "curves": made_up_curves(runs)}
    monkeypatch.setattr(plots, "table", lambda name, params: tables[params.scale][name])
    same = {"factors": factors, "verdict": SimpleNamespace(level=0.95)}
    studies = {name: SimpleNamespace(scale=name, **same) for name in tables}
    figure = plt.figure(figsize=(8.6, 4))
    plots.scales(studies, figure)
    assert len(figure.axes) == 6
    for axis, name in zip(figure.axes[::3], studies, strict=True):
        assert name in {text.get_text() for text in axis.texts}
    assert "while it is less" in words(figure.axes[0])
    assert "once it is more" in words(figure.axes[3])
    plt.close(figure)


def test_no_scale_with_results_is_said_in_the_figure():
    figure = plt.figure()
    plots.scales({}, figure)
    assert [text.get_text() for text in figure.texts] == [plots.NOTHING]
    plt.close(figure)


def test_an_svg_has_no_date_and_the_same_bytes_from_another_process(tmp_path):
    script = (
        "import sys, pathlib; import matplotlib; matplotlib.use('Agg');"
        "import matplotlib.pyplot as plt; from dwt import plots; plots.theme();"
        "figure, axis = plt.subplots(); axis.plot([1, 2], marker='o'); axis.set_title('x');"
        "axis.axvspan(0, 1); plots.save(figure, pathlib.Path(sys.argv[1]))"
    )
    files = [tmp_path / name for name in ("a.svg", "b.svg")]
    for file in files:
        subprocess.run([sys.executable, "-c", script, str(file)], check=True)
    first, second = (file.read_bytes() for file in files)
    assert first == second and b"<dc:date>" not in first
    assert [file.name for file in sorted(tmp_path.iterdir())] == ["a.svg", "b.svg"]
