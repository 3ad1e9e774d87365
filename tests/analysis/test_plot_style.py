"""One look per arm, readable in grey and at 8 points; SVGs with the same bytes everywhere."""

import subprocess
import sys

from dwt.analysis import plot_style
from dwt.analysis.plot_style import ARMS, MARKERS, styles


def test_no_two_arms_look_alike_and_those_of_the_study_differ_in_grey():
    looks = styles(ARMS)
    assert len({(style.color, style.marker) for style in looks.values()}) == len(ARMS)
    study = ARMS[: len(MARKERS)]
    assert len({looks[arm].marker for arm in study}) == len(study)


def test_an_arm_keeps_its_look_whichever_arms_it_is_drawn_with():
    assert styles(["strong"])["strong"] == styles(ARMS)["strong"]
    assert styles(["new", "normal"])["normal"] == styles(["normal"])["normal"]


def test_unknown_arms_get_looks_of_their_own_in_order():
    looks = styles([*ARMS, "first", "second"])
    assert len({*looks.values()}) == len(ARMS) + 2
    assert looks["first"] == styles(["first"])["first"]


def test_every_font_size_of_the_theme_is_at_least_eight_points():
    sizes = {key: size for key, size in plot_style.RC.items() if key.endswith("size")}
    assert min(size for key, size in sizes.items() if "marker" not in key) == 8


def test_an_svg_has_no_date_and_the_same_bytes_from_another_process(tmp_path):
    script = (
        "import sys, pathlib; import matplotlib; matplotlib.use('Agg');"
        "import matplotlib.pyplot as plt; from dwt.analysis import plot_style; plot_style.theme();"
        "figure, axis = plt.subplots(); axis.plot([1, 2], marker='o'); axis.set_title('x');"
        "axis.axvspan(0, 1); plot_style.save(figure, pathlib.Path(sys.argv[1]))"
    )
    files = [tmp_path / name for name in ("a.svg", "b.svg")]
    for file in files:
        subprocess.run([sys.executable, "-c", script, str(file)], check=True)
    first, second = (file.read_bytes() for file in files)
    assert first == second and b"<dc:date>" not in first
    assert [file.name for file in sorted(tmp_path.iterdir())] == ["a.svg", "b.svg"]
