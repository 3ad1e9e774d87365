"""dwt/pipeline/costs.py and dwt/pipeline/cost_report.py: what was said before is what was paid."""

import json
import re
import shlex
import sys

import numpy as np
import pytest
import torch
import yaml
from conftest import ROOT

from dwt.config.params import load_params, resolve
from dwt.data.corpus import build_corpus
from dwt.data.vocabulary import Vocabulary
from dwt.pipeline.cost_report import hours
from dwt.pipeline.costs import GLUE, SAVED, cache_bytes, corpus_bytes, costs_of, evaluation_cost
from dwt.pipeline.stages import cost_report as planning
from dwt.training.models import build_model, hidden_at
from dwt.training.train import pretrain

WORDS = "the model reads a small piece of text and a teacher guesses what word was there".split()

ARMS = ("weak-teacher", "normal", "decayed")


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A project at the smoke scale with made-up text: a teacher and two students."""
    root = tmp_path_factory.mktemp("study")
    content = yaml.safe_load((ROOT / "params.yaml").read_text())
    content |= {"scale": "smoke", "seeds": [0]}
    rng = np.random.default_rng(0)
    for name, documents in (("in.txt", 400), ("out.txt", 60)):
        text = "\n\n".join(" ".join(rng.choice(WORDS, 40)) + "." for _ in range(documents))
        (root / name).write_text(text + "\n")
    content["scales"]["smoke"]["corpus"] = {
        "source": "files", "files": ["in.txt"], "out_of_domain": ["out.txt"], "heldout": 0.1,
        "vocabulary": {"size": 400, "alphabet": 30}, "limit_mb": 1,
    }  # fmt: skip
    falls = {"from": 1.0, "to": 0.0, "shape": "step", "until": 0.5}
    content["arms"]["decayed"] = {"teacher": "weak-teacher", "soft_weight": falls}
    (root / "params.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    params = load_params(root / "params.yaml")
    corpus = params.settings.corpus.model_dump(exclude_none=True)
    build_corpus(corpus, directory=params.path("data"), root=root)
    for arm in ARMS:
        pretrain(resolve(arm, 0, params))
    return params


@pytest.fixture(scope="module")
def costs(study):
    return costs_of(study)


@pytest.mark.parametrize("arm", ARMS)
def test_a_run_takes_what_the_plan_said(study, costs, arm):
    record = json.loads((resolve(arm, 0, study).directory / "run.json").read_text())
    for key in ("parameters", "steps", "tokens", "student_flops", "teacher_flops"):
        assert costs.loc[arm, key] == record[key], key
    assert (costs.loc[arm, "teacher_flops"] > 0) == (arm != "weak-teacher")


@pytest.mark.parametrize("arm", ARMS)
def test_a_finished_run_is_as_large_as_the_plan_said(study, costs, arm):
    size = sum(f.stat().st_size for f in resolve(arm, 0, study).directory.rglob("*.*"))
    assert costs.loc[arm, "disk"] == pytest.approx(size, rel=0.1)


def test_the_teachers_states_are_as_large_as_the_plan_said(study, costs):
    cache = study.root / "build" / "cache"
    written = sum(f.stat().st_size for f in cache.rglob("*.safetensors"))
    assert costs.cache["normal"] == pytest.approx(written, rel=0.01)
    assert costs.cache["decayed"] == costs.cache["normal"] / 2  # silent from half of the steps on
    assert cache_bytes(costs, study) == pytest.approx(3 * written, rel=0.01)  # of three teachers


def test_a_built_corpus_is_counted_and_one_to_come_is_guessed_from_its_limit(study, tmp_path):
    built = sum(f.stat().st_size for f in study.path("data").iterdir())
    assert corpus_bytes(study) == built
    assert corpus_bytes(study.model_copy(update={"root": tmp_path})) == pytest.approx(2e6 / 4.4)
    docstrings = load_params(ROOT / "params.yaml").model_copy(
        update={"root": tmp_path, "scale": "laptop"}
    )
    assert corpus_bytes(docstrings) is None


def saved_per_token(family, precision, width, inner):
    """Bytes that autograd says a layer keeps: what three layers keep more than one."""
    vocabulary = Vocabulary(50, 2, 3, 4, (0, 1, 2, 3, 4))
    found = {}
    for layers in (1, 3):
        for batch in (2, 4):  # what does not grow with the batch is weights, cast
            shape = dict(family=family, width=width, heads=2, intermediate=inner)
            model = build_model(shape, layers=layers, vocabulary=vocabulary, max_length=64)
            own = {p.untyped_storage().data_ptr() for p in model.parameters()}
            kept = {}

            def pack(tensor, own=own, kept=kept):
                storage = tensor.untyped_storage()
                if storage.data_ptr() not in own:
                    kept[storage.data_ptr()] = (storage.nbytes(), tensor)
                return tensor

            ids = torch.randint(5, 50, (batch, 64))
            places = torch.tensor([[3]]).expand(batch, -1)
            bf16 = precision == "bf16"
            with (
                torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor),
                torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16),
            ):
                hidden = hidden_at(model.train(), ids, places)
            found[layers, batch] = sum(size for size, _ in kept.values())
            del hidden
    growth = {n: found[n, 4] - found[n, 2] for n in (1, 3)}
    return (growth[3] - growth[1]) / (2 * 2 * 64)


@pytest.mark.parametrize(("family", "precision"), SAVED)
def test_layers_keep_what_autograd_says_they_keep(family, precision):
    wide, inner = SAVED[family, precision]
    for width, intermediate in ((128, 256), (128, 512)):
        found = saved_per_token(family, precision, width, intermediate)
        assert found == pytest.approx(wide * width + inner * intermediate, rel=0.02)


def edited(**changes):
    """The paper scale of the project's own params.yaml, with other values."""
    params = load_params(ROOT / "params.yaml").model_copy(update={"scale": "paper"})
    scale = params.settings
    for section, values in changes.items():
        part = getattr(scale, section)
        if section == "corpus":
            values = {"vocabulary": part.vocabulary.model_copy(update=values)}
        scale = scale.model_copy(update={section: part.model_copy(update=values)})
    return params.model_copy(update={"scales": params.scales | {"paper": scale}})


VOCABULARY = {"file": None, "size": 30_522}  # the file is not part of the project


def test_memory_is_what_the_benchmark_measured():
    """results/benchmarks/cpu.json: the paper's shape, batch 64 x 128, float32, without dropout."""
    measured = json.loads((ROOT / "results" / "benchmarks" / "cpu.json").read_text())["memory"]
    costs = costs_of(
        edited(
            train={"batch": measured["batch"], "precision": measured["precision"], "steps": 10},
            model={"dropout": 0.0, "positions": None},
            corpus=VOCABULARY,
        )
    )
    alone = costs.memory["scratch"] - 16 * costs.parameters["scratch"]
    assert alone == pytest.approx(measured["bytes"]["alone"], rel=0.1)
    both = 16 * costs.parameters["scratch"] + 4 * costs.parameters["weak-teacher"]
    taught = costs.memory["normal"] - both
    assert taught == pytest.approx(measured["bytes"]["online"], rel=0.1)


def test_fine_tuning_costs_examples_times_epochs_times_seeds_times_grid():
    few = {"tasks": ["cola"], "seeds": 1, "epochs": [1], "learning_rate": [1e-5],
           "batch": 32, "pairs": 1, "examples": None, "checkpoints": False,
           "blimp": None}  # fmt: skip
    many = few | {"seeds": 2, "epochs": [1, 3], "learning_rate": [1e-5, 2e-5, 3e-5]}
    config = build_model(
        dict(family="distilbert", width=32, heads=2, intermediate=64), layers=2,
        vocabulary=Vocabulary(50, 2, 3, 4, (0, 1, 2, 3, 4)), max_length=64,
    ).config  # fmt: skip
    (one, steps), (all_, all_steps) = (
        evaluation_cost(edited(evaluate=asked), config) for asked in (few, many)
    )
    assert steps == -(-GLUE["cola"][0] // 32)
    assert all_steps == 2 * 3 * (1 + 3) * steps
    # 3 x 8,551 trained on and 1,043 scored; the grid scores 2 x 3 x 2 times, trains 2 x 3 x 4.
    trained, scored = 3 * 8_551, 1_043
    early = edited(evaluate=few | {"checkpoints": ["cola"]})
    assert evaluation_cost(early, config)[1] == (1 + len(early.settings.train.keep)) * steps
    assert all_ / one == pytest.approx((24 * trained + 12 * scored) / (trained + scored), rel=0.02)


def test_all_costs_at_once_last_as_long_as_their_longest_chain(costs):
    slow = dict(rate=1e9, kind="cpu")
    one, two, many = (hours(costs, 1, devices=n, **slow)["total"] for n in (1, 2, 100))
    assert two == pytest.approx(one / 2)
    longest = costs.loc["strong"] + costs.loc["scratch"] * 0
    chain = (
        costs.loc["scratch", ["student_flops", "watch_flops"]].sum()
        + longest[["student_flops", "teacher_flops", "watch_flops", "evaluate_flops"]].sum()
    )
    assert many == pytest.approx(chain / 1e9 / 3600)
    # The seeds of an arm are trained one after the other.
    assert hours(costs, 3, devices=100, **slow)["total"] == pytest.approx(3 * many)


def test_a_gpu_is_not_said_to_step_faster_than_its_kernels_start(costs):
    endless = hours(costs, 1, rate=1e30, kind="gpu")
    assert endless["pre-training"] * 3600 == pytest.approx(11 * 20 * planning.STEP_SECONDS["gpu"])


@pytest.fixture
def say(monkeypatch, capsys):
    """The command in this process: what it printed, and what it ended with."""

    def run(*words):
        monkeypatch.chdir(ROOT)
        monkeypatch.setattr(sys, "argv", ["plan", *words])
        try:
            planning.main()
        except SystemExit as end:
            return "", f"{end.code} {capsys.readouterr().err}"
        return capsys.readouterr().out, None

    return run


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--scale", "huge"], "--scale: 'huge' is not in params.yaml; choose one of smoke"),
        (["--accelerator", "TPU"], "--accelerator: invalid choice.*H200"),
        (["--utilisation", "45"], "--utilisation: 45.0 is out of range"),
        (["--devices", "0"], "--devices: 0 is out of range"),
    ],
)
def test_a_question_that_has_no_answer_is_refused(say, words, said):
    assert re.search(said, say(*words)[1])


def test_a_vocabulary_file_that_is_missing_is_taken_for_that_of_bert_and_said():
    with pytest.warns(UserWarning, match=r"no\.txt is not here; 30,522 tokens are assumed"):
        costs = costs_of(edited(corpus={"file": "no.txt"}))
    assert costs.parameters["scratch"] == costs_of(edited(corpus=VOCABULARY)).parameters["scratch"]


def test_the_readme_shows_what_the_command_says(say):
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    found = re.search(r"    python -m (dwt\.plan .*)\n\n((?:(?!\n## ).*\n)*?)<!-- end -->", readme)
    said, failed = say(*shlex.split(found[1])[1:])
    assert failed is None
    assert found[2].strip() == said.strip()
