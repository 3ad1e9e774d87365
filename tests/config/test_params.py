import re
import subprocess
import sys

import pytest
import yaml
from conftest import ROOT

from dwt.config.params import ParamsError, load_params, resolve


@pytest.fixture
def edited(tmp_path):
    """params.yaml with one value changed; a path of keys leads to it."""

    def write(keys, value):
        content = yaml.safe_load((ROOT / "params.yaml").read_text())
        place = content
        for key in keys[:-1]:
            place = place[key]
        place[keys[-1]] = value
        file = tmp_path / "params.yaml"
        file.write_text(yaml.safe_dump(content, sort_keys=False))
        return file

    return write


def test_the_projects_own_params_are_sound():
    params = load_params(ROOT / "params.yaml")
    assert params.root == ROOT
    assert params.names()[0] == "scratch"


def test_params_are_found_from_a_folder_below(monkeypatch):
    monkeypatch.chdir(ROOT / "notebooks")
    assert load_params().root == ROOT


BAD = {
    "unknown scale": (["scale"], "huge", r"scale: 'huge'.*smoke, laptop"),
    "nearly a scale": (["scale"], "labtop", r"scale: 'labtop' .*; did you mean 'laptop'\?$"),
    "unknown family": (
        ["scales", "laptop", "model", "family"], "gpt",
        r"model\.family: choose one of modernbert, distilbert, bert \(found 'gpt'\)"),
    "unknown teacher": (
        ["arms", "strong", "teacher"], "weka",
        r"arms\.strong\.teacher: 'weka' is not a model; choose one of scratch, weak-teacher"),
    "nearly a teacher": (
        ["arms", "strong", "teacher"], "weak-teachr", r"; did you mean 'weak-teacher'\?$"),
    "unknown shape": (
        ["arms", "4-to-1", "soft_weight", "shape"], "cubic",
        r"soft_weight\.shape: choose one of linear, cosine.*found 'cubic'"),
    "unknown arm key": (
        ["arms", "strong", "softweight"], 4,
        r"softweight: unknown key; allowed: teacher.*; did you mean 'soft_weight'\?"),
    "unknown schedule key": (
        ["arms", "4-to-1", "soft_weight", "frm"], 4,
        r"frm: unknown key; allowed: from, to, shape, until"),
    "unknown train key": (
        ["scales", "laptop", "train", "lr"], 1, r"train\.lr: unknown key; allowed: steps"),
    "fewer positions than tokens": (
        ["scales", "paper", "model", "positions"], 64,
        r"scales\.paper: model\.positions 64 is less than train\.length 128"),
    "too large a vocabulary": (
        ["scales", "laptop", "corpus", "vocabulary", "size"], 70_000,
        r"vocabulary\.size.*65536.*70000"),
    "unknown top-level key": (["sales"], {}, r"sales: unknown key; allowed: scale, seeds"),
    "negative weight": (["arms", "strong", "soft_weight"], -1, r"arms\.strong\.soft_weight.*-1"),
    "negative scheduled weight": (
        ["arms", "4-to-1", "soft_weight", "to"], -1, r"arms\.4-to-1\.soft_weight\.to.*-1"),
    "zero temperature": (["defaults", "temperature"], 0, r"defaults\.temperature: must be above 0"),
    "exponential to zero": (
        ["arms", "4-to-1", "soft_weight"], {"from": 4, "to": 0, "shape": "exponential"},
        r"arms\.4-to-1\.soft_weight.*above 0"),
    "no learning signal": (
        ["arms", "strong"], {"teacher": "weak-teacher", "hard_weight": 0, "soft_weight": 0},
        r"arms\.strong.*both 0"),
    "small student": (
        ["models", "scratch", "layers"], 3,
        r"arms\.remapped\.remap: the student \(3 layers.*at most 3"),
    "steps in words": (["scales", "laptop", "train", "steps"], "many", r"train\.steps.*'many'"),
    "seed twice": (["seeds"], [0, 0], "seeds: names 0 twice"),
    "further seed twice": (["extended", "seeds"], [7, 7], r"extended\.seeds: names 7 twice"),
    "no seed": (["seeds"], [], "seeds: must hold at least 1"),
    "a seed that is true": (["seeds"], [True], r"seeds\.0: must be a whole number \(found True\)"),
    "a seed in words": (["seeds"], ["1"], r"seeds\.0: must be a whole number \(found '1'\)"),
    "a negative seed": (["seeds"], [0, -1], r"seeds\.1: must be at least 0 \(found -1\)"),
    "too large a seed": (
        ["extended", "seeds"], [2**32], r"extended\.seeds\.0: must be below 4294967296 \(found"),
    "steps with a fraction": (
        ["scales", "laptop", "train", "steps"], 1.5, r"steps: must be a whole number \(found 1\.5"),
    "a rate in words": (
        ["scales", "laptop", "train", "learning_rate"], "fast",
        r"learning_rate: must be a number \(found 'fast'\)"),
    "a share of all": (
        ["scales", "laptop", "corpus", "heldout"], 1, r"heldout: must be below 1 \(found 1"),
    "no teacher": (["arms", "strong"], {}, r"arms\.strong\.teacher: is missing"),
    "an arm that YAML reads as true": (
        ["arms", True], {"teacher": "weak-teacher"}, r"arms: must be text; .*yes.* \(found True\)"),
    "a key that YAML reads as true": ([True], 1, r": must be text; .* in quotes \(found True\)"),
    "a root": (["root"], "/", "root: unknown key; allowed: scale, seeds, .*, extended$"),
    "a scale twice": (["compare"], ["laptop", "laptop"], "compare: names 'laptop' twice"),
    "an analysis that names an arm twice": (
        ["analyses", "gap"], ["scratch", "scratch"], r"analyses\.gap: names 'scratch' twice"),
    "no analyses": (
        ["analyses"], {}, r"analyses\.teacher-quality: is missing; (.|\n)*\.loss-weight: is missing"
        r"(.|\n)*\.parameter-remapping: is missing; give four arms"),
    "a reference alone": (
        ["analyses", "teacher-quality"], ["scratch"],
        r"teacher-quality: found scratch; give a reference and at least one arm"),
    "no arm beside the base": (
        ["analyses", "loss-weight"], ["scratch", "normal"],
        r"loss-weight: found scratch, normal; give a reference, a base and"),
    "three corners": (
        ["analyses", "parameter-remapping"], ["scratch", "normal", "remapped"],
        r"parameter-remapping: found .*; give four arms"),
    "a corner twice": (
        ["analyses", "parameter-remapping"], ["scratch", "normal", "remapped", "strong"],
        r"parameter-remapping: found .*; give four arms"),
    "a factor of the extended grid": (
        ["analyses", "loss-weight"], ["scratch", "normal", "4-to-0"],
        r"loss-weight: '4-to-0' is in the extended grid, and factors compare runs of the study"),
    "the same arm under two names": (
        ["arms", "again"], {"teacher": "weak-teacher", "temperature": 1},
        r"arms\.again: has the settings of 'normal'"),
    "an arm against itself": (
        ["claims", "weak-helps", "against"], "normal",
        r"claims\.weak-helps\.against: 'normal' is also its arm"),
    "arm named as a model": (["arms", "scratch"], {"teacher": "weak-teacher"}, r"arms\.scratch"),
    "unknown arm in an analysis": (
        ["analyses", "loss-weight"], ["scratch", "strnog"],
        r"loss-weight: 'strnog' is not an arm; .*; did you mean 'strong'\?"),
    "unknown arm in a claim": (
        ["claims", "weak-helps", "arm"], "nromal", r"claims\.weak-helps\.arm"),
    "no threads": (
        ["scales", "laptop", "train", "threads"], 0, r"threads: 0 .*'auto'.*whole number"),
    "threads in words": (
        ["scales", "laptop", "train", "threads"], "many", r"train\.threads: 'many' .*'auto'"),
    "compile in other words": (
        ["scales", "laptop", "train", "compile"], "yes please",
        r"train\.compile: choose one of auto, on, off \(found 'yes please'\)"),
    "a cache of students": (["cache", "students"], "auto", r"students: unknown key; .*teacher"),
    "a cache that is on": (
        ["cache", "teacher"], True, r"cache\.teacher: choose one of auto, off.*'on'"),
    "a cache without room": (["cache", "limit_gb"], 0, r"cache\.limit_gb: must be above 0"),
    "an arm that is no folder": (
        ["arms", "Strong_2"], {"teacher": "weak-teacher"},
        r"arms\.Strong_2: 'Strong_2' .*lower-case letters, digits"),
    "a model in another folder": (
        ["models", "../weak"], {"layers": 1}, r"models\.\.\./weak: .*lower-case letters"),
    "an arm named as a baseline": (
        ["arms", "majority"], {"teacher": "weak-teacher"}, r"arms\.majority: .*baseline, random"),
    "a model named as a baseline": (["models", "random"], {"layers": 1}, r"models\.random: "),
    "an arm that is a number": (
        ["arms", 4], {"teacher": "weak-teacher"}, r"arms: must be text; .* in quotes \(found 4"),
    "an unknown task": (
        ["scales", "laptop", "evaluate", "tasks"], ["colla"],
        r"evaluate\.tasks\.0: choose one of .*cola, sst2.*; did you mean 'cola'\? \(found 'col"),
    "a task twice": (["scales", "laptop", "evaluate", "tasks"], ["rte", "rte"], "tasks: .*twice"),
    "no learning rate": (
        ["scales", "laptop", "evaluate", "learning_rate"], [], r"evaluate\.learning_rate"),
    "half an epoch": (["scales", "laptop", "evaluate", "epochs"], [1, 2.5], r"epochs\.1: .*2\.5"),
    "checkpoints of nothing": (
        ["scales", "smoke", "evaluate", "checkpoints"], ["cola"],
        r"checkpoints: 'cola' is not in tasks; choose from function-words"),
    "checkpoints in words": (
        ["scales", "smoke", "evaluate", "checkpoints"], "all", r"checkpoints: 'all' is neither"),
    "checkpoints that are not kept": (
        ["scales", "laptop", "evaluate", "checkpoints"], True, r"train\.keep names no checkpoint"),
    "texts longer than the positions": (
        ["scales", "smoke", "model", "family"], "bert", r"evaluate\.length 128 .* 32 positions"),
    "an arm named as a context-free teacher": (
        ["extended", "arms", "unigram"], {"teacher": "unigram"},
        r"extended\.arms\.unigram: .*not trained"),
    "weights of a context-free teacher": (
        ["extended", "arms", "unigram-teacher", "remap"], "repeat-last",
        r"extended\.arms\.unigram-teacher: teacher 'unigram' has neither weights"),
    "a gap to a context-free teacher": (
        ["extended", "arms", "unigram-teacher", "soft_weight"],
        {"from": 1, "to": 0, "shape": "adaptive"},
        r"unigram-teacher\.soft_weight: .*no held-out loss"),
    "an adaptive weight with a clock": (
        ["extended", "arms", "adaptive", "soft_weight", "until"], 0.5, r"adaptive.*no 'until'"),
    "an unknown teacher in the extended grid": (
        ["extended", "arms", "same-size-teacher", "teacher"], "weka",
        r"extended\.arms\.same-size-teacher\.teacher: 'weka' .*weak-half.*unigram"),
    "a teacher of the extended grid in the study": (
        ["arms", "strong", "teacher"], "weak-half",
        r"arms\.strong\.teacher: 'weak-half' is not a model"),
    "an arm of the study again": (
        ["extended", "arms", "strong"], {"teacher": "scratch"},
        r"extended\.arms\.strong: arms has"),
    "an unknown arm in a claim of the extended grid": (
        ["claims", "adaptive-beats-constant", "arm"], "adaptvie",
        r"claims\.adaptive-beats-constant\.arm: 'adaptvie'"),
    "equal FLOPs against another arm": (
        ["claims", "worth-its-compute", "against"], "normal",
        r"worth-its-compute\.against: .*'scratch'"),
    "no budget": (["extended", "arms", "normal-4x", "budget"], 0, r"normal-4x\.budget"),
    "unknown keys of the extended grid": (
        ["extended", "arm"], {}, r"extended\.arm: unknown key; allowed: seeds, models, arms"),
    "an arm that is one number": (
        ["arms", "strong"], 4, r"arms\.strong: expected keys and values \(found 4\)"),
    "a scale that is a list": (
        ["scales", "laptop"], [1], r"scales\.laptop: expected keys and values"),
    "one beta": (["scales", "laptop", "train", "betas"], 0.9, r"train\.betas: expected a list"),
    "a default teacher": (
        ["defaults", "teacher"], "scratch", r"defaults\.teacher: must be left out"),
    "a batch that does not split": (
        ["scales", "laptop", "train", "accumulate"], 3,
        r"batch 16 is not a multiple of accumulate 3"),
    "heads that do not divide": (
        ["scales", "laptop", "model", "heads"], 3, r"model.*not a multiple"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_params_are_refused_with_file_key_and_what_is_allowed(case, edited):
    keys, value, message = BAD[case]
    with pytest.raises(ParamsError, match=message) as refused:
        load_params(edited(keys, value))
    assert str(refused.value).startswith("params.yaml: ")
    python = r"instance of|dictionary|tuple|NoneType|self\.|Input should|valid (string|integer)"
    assert not re.search(python, str(refused.value))


def test_an_analysis_needs_a_notebook_where_there_are_notebooks(edited):
    file = edited(["analyses", "gapp"], ["scratch"])
    load_params(file)
    (file.parent / "notebooks").mkdir()
    for number, name in enumerate(load_params(ROOT / "params.yaml").analyses, 10):
        (file.parent / "notebooks" / f"{number}-{name}.ipynb").touch()
    with pytest.raises(ParamsError, match=r"^params.yaml: analyses\.gapp: .*'gap'\?$"):
        load_params(file)


def test_every_fault_is_named_at_once(edited):
    file = edited(["arms", "strong", "teacher"], "weka")
    content = yaml.safe_load(file.read_text())
    content["arms"]["normal"]["teacher"] = "wake"
    file.write_text(yaml.safe_dump(content))
    with pytest.raises(ParamsError, match=r"wake(.|\n)*weka|weka(.|\n)*wake"):
        load_params(file)


@pytest.mark.parametrize("text", ["- a list", "scale: [unclosed", ""])
def test_a_file_that_is_no_mapping_is_refused(text, tmp_path):
    file = tmp_path / "params.yaml"
    file.write_text(text)
    with pytest.raises(ParamsError, match=r"params\.yaml"):
        load_params(file)


def test_a_missing_params_file_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ParamsError, match=r"no params\.yaml"):
        load_params()


def test_the_command_refuses_with_one_line_and_a_failing_exit(edited):
    folder = edited(["arms", "strong", "teacher"], "weka").parent
    done = subprocess.run(
        [sys.executable, "-m", "dwt.config.params"], cwd=folder, capture_output=True, text=True
    )
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    assert "arms.strong.teacher" in done.stderr


def test_the_command_prints_the_scale_and_the_size_of_the_study(edited):
    folder = edited(["seeds"], [0, 1]).parent
    done = subprocess.run(
        [sys.executable, "-m", "dwt.config.params"], cwd=folder, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "params.yaml is sound: scale laptop, 11 arms x 2 seeds\n"


def test_a_model_resolves_to_a_run_of_the_hard_loss_alone():
    run = resolve("scratch", 1, load_params(ROOT / "params.yaml"))
    assert (run.kind, run.teacher, run.soft_weight, run.hard_weight) == ("standalone", None, 0, 1)


def test_an_arm_takes_what_it_leaves_out_from_defaults(edited):
    params = load_params(edited(["defaults", "temperature"], 2.0))
    assert resolve("normal", 0, params).temperature == 2.0
    assert resolve("normal", 0, params).soft_weight == params.defaults.soft_weight


def test_what_an_arm_gives_wins_over_defaults(edited):
    params = load_params(edited(["arms", "normal", "soft_weight"], 0.25))
    assert resolve("normal", 0, params).soft_weight == 0.25


def test_a_schedule_reaches_the_run_under_the_names_of_the_file():
    run = resolve("4-to-1", 0, load_params(ROOT / "params.yaml"))
    assert run.settings()["soft_weight"] == {"from": 4, "to": 1, "shape": "linear", "until": 1}


@pytest.mark.parametrize(
    ("arm", "seed"),
    [("strnog", 0), ("strong", -1), ("strong", "1"), ("strong", True), ("strong", 2**32)],
)
def test_an_unknown_arm_or_a_bad_seed_is_refused(arm, seed):
    with pytest.raises(ParamsError, match="choose one of scratch|whole number"):
        resolve(arm, seed, load_params(ROOT / "params.yaml"))


@pytest.mark.parametrize(
    ("key", "given", "read"),
    [("compile", True, "on"), ("compile", False, "off"), ("threads", "auto", "auto"),
     ("threads", 2, 2)],
)  # fmt: skip
def test_threads_and_compile_reach_a_run_also_from_bare_on_and_off(edited, key, given, read):
    file = edited(["scales", "laptop", "train", key], given)
    assert resolve("normal", 0, load_params(file)).train[key] == read


def test_threads_and_compile_are_auto_by_default(edited):
    file = edited(["scales", "laptop", "train", "clip"], 1.0)
    content = yaml.safe_load(file.read_text())
    del content["scales"]["laptop"]["train"]["threads"]
    file.write_text(yaml.safe_dump(content))
    train = load_params(file).settings.train
    assert (train.threads, train.compile) == ("auto", "auto")


def test_the_cache_reaches_a_run_and_is_no_part_of_its_settings(edited):
    params = load_params(edited(["cache"], {"teacher": False}))
    assert params.cache.teacher == "off"
    run = resolve("normal", 0, params)
    assert run.cache == {"teacher": "off", "limit_gb": 2.0}
    assert run.settings() == resolve("normal", 0, load_params(ROOT / "params.yaml")).settings()
    assert not {"cache", "root"} & run.settings().keys()


def test_a_file_without_a_cache_section_gets_the_default(edited):
    file = edited(["cache"], {})
    content = yaml.safe_load(file.read_text())
    del content["cache"]
    file.write_text(yaml.safe_dump(content))
    assert load_params(file).cache.model_dump() == {"teacher": "auto", "limit_gb": 2.0}


@pytest.mark.parametrize(("given", "read"), [(2, [2]), ([2, 3], [2, 3])])
def test_epochs_and_learning_rates_are_a_number_or_a_list(edited, given, read):
    place = ["scales", "laptop", "evaluate", "epochs"]
    assert load_params(edited(place, given)).settings.evaluate.epochs == read


def test_a_budget_is_a_share_of_the_steps_and_changes_nothing_else(edited):
    params = load_params(ROOT / "params.yaml")
    usual, longer = (resolve(arm, 0, params) for arm in ("normal", "normal-4x"))
    assert longer.train == usual.train | {"steps": 4 * usual.train["steps"]}
    assert resolve("weak-quarter", 0, params).train["steps"] == usual.train["steps"] / 4


def test_each_grid_has_a_folder_and_the_extended_one_reads_the_studys_teachers():
    params = load_params(ROOT / "params.yaml")
    scale, seed = ROOT / "runs" / params.scale, params.extended.seeds[0]
    folders = {
        ("normal", 0): ("study/student/normal/0", "study/standalone/weak-teacher/0"),
        ("normal-half", 0): ("extended/student/normal-half/0", "extended/standalone/weak-half/0"),
        ("normal-2x", 0): ("extended/student/normal-2x/0", "study/standalone/weak-teacher/0"),
        ("normal", seed): (
            f"extended/student/normal/{seed}",
            f"extended/standalone/weak-teacher/{seed}",
        ),
    }
    for (arm, seed), (own, teachers) in folders.items():
        run = resolve(arm, seed, params)
        assert (run.directory, run.teacher_directory) == (scale / own, scale / teachers)
    assert resolve("unigram-teacher", 0, params).teacher_directory is None


def test_a_run_belongs_to_one_grid_and_is_declared_once():
    params = load_params(ROOT / "params.yaml")
    for grid in ("study", "extended"):
        declared = params.runs_of(grid)
        assert len(declared) == len({*declared})
        assert {params.grid_of(*run) for run in declared} == {grid}
    with pytest.raises(ValueError, match="choose study or extended"):
        params.runs_of("all")


def test_a_context_that_is_not_set_is_no_part_of_the_settings():
    """The digests of runs that were finished before this key existed still hold."""
    params = load_params(ROOT / "params.yaml")
    assert "context" not in resolve("normal", 0, params).settings()
    assert resolve("shuffled-contexts", 0, params).settings()["context"] == "shuffled"


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("weak-half: {layers: 4, budget: 0.5}", "weak-half: {layers: 4, budget: 0.0001}",
         "weak-half: budget 0.0001 of scales.laptop.train.steps is 0 steps"),
        ("soft_weight: 4.0}", "soft_weight: .inf}", "arms.strong.soft_weight: "),
        ("modernbert, width: 64, heads: 2,", "modernbert, width: 62, heads: 2,",
         "scales.laptop.model: width 62 / heads 2 is odd; rotary positions need it even"),
    ],
)  # fmt: skip
def test_what_would_fail_in_training_is_refused_at_once(old, new, fault, tmp_path):
    text = (ROOT / "params.yaml").read_text()
    assert old in text
    (tmp_path / "params.yaml").write_text(text.replace(old, new, 1))
    with pytest.raises(ParamsError, match=re.escape(fault)):
        load_params(tmp_path / "params.yaml")
