"""dwt/pipeline/cost_model.py and costs.py: predicted costs are those of real runs."""

import json
import re

import numpy as np
import pytest
import torch
import yaml
from conftest import ROOT

from dwt.config.params import load_params, resolve
from dwt.config.tasks import GLUE
from dwt.data.corpus import build_corpus
from dwt.data.vocabulary import Vocabulary
from dwt.pipeline.cost_model import (
    ACTIVATION_BYTES,
    arm_costs,
    cache_bytes,
    corpus_bytes,
    evaluation_costs,
)
from dwt.pipeline.costs import START_SECONDS, STEP_SECONDS, hours, main
from dwt.training.models import build_model, hidden_at
from dwt.training.train import pretrain

WORDS = "the model reads a small piece of text and a teacher guesses what word was there".split()

ARMS = ("weak-teacher", "normal", "halved")


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A project at the smoke scale with random text: a teacher and two students."""
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
    content["arms"]["halved"] = {"teacher": "weak-teacher", "soft_weight": falls}
    (root / "params.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    params = load_params(root / "params.yaml")
    corpus = params.settings.corpus.model_dump(exclude_none=True)
    build_corpus(corpus, directory=params.path("data"), root=root)
    for arm in ARMS:
        pretrain(resolve(arm, 0, params))
    return params


@pytest.fixture(scope="module")
def costs(study):
    return arm_costs(study)


@pytest.mark.parametrize("arm", ARMS)
def test_predicted_flops_and_sizes_are_those_a_run_records(study, costs, arm):
    record = json.loads((resolve(arm, 0, study).directory / "run.json").read_text())
    for key in ("parameters", "steps", "tokens", "student_flops", "teacher_flops"):
        assert costs.loc[arm, key] == record[key], key
    assert (costs.loc[arm, "teacher_flops"] > 0) == (arm != "weak-teacher")


@pytest.mark.parametrize("arm", ARMS)
def test_predicted_disk_is_that_of_a_finished_run(study, costs, arm):
    size = sum(f.stat().st_size for f in resolve(arm, 0, study).directory.rglob("*.*"))
    assert costs.loc[arm, "disk"] == pytest.approx(size, rel=0.1)


def test_predicted_teacher_cache_is_as_large_as_the_files(study, costs):
    cache = study.root / "build" / "cache"
    written = sum(f.stat().st_size for f in cache.rglob("*.safetensors"))
    assert costs.teacher_cache["normal"] == pytest.approx(written, rel=0.01)
    assert costs.teacher_cache["halved"] == costs.teacher_cache["normal"] / 2
    assert cache_bytes(costs, study) == pytest.approx(3 * written, rel=0.01)  # three teachers


def test_corpus_size_is_that_of_its_files_or_estimated_from_limit_mb(study, tmp_path):
    built = sum(f.stat().st_size for f in study.path("data").iterdir())
    assert corpus_bytes(study) == built
    assert corpus_bytes(study.model_copy(update={"root": tmp_path})) == pytest.approx(2e6 / 4.4)
    docstrings = load_params(ROOT / "params.yaml").model_copy(
        update={"root": tmp_path, "scale": "laptop"}
    )
    assert corpus_bytes(docstrings) is None


def saved_per_token(family, precision, width, intermediate):
    """Bytes that autograd saves per token for one layer: the difference of three layers and one."""
    vocabulary = Vocabulary(50, 2, 3, 4, (0, 1, 2, 3, 4))
    saved = {}
    for layers in (1, 3):
        for batch in (2, 4):  # casts of weights do not grow with the batch
            shape = dict(family=family, width=width, heads=2, intermediate=intermediate)
            model = build_model(shape, layers=layers, vocabulary=vocabulary, max_length=64)
            weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
            storages = {}

            def pack(tensor, weights=weights, storages=storages):
                storage = tensor.untyped_storage()
                if storage.data_ptr() not in weights:
                    storages[storage.data_ptr()] = (storage.nbytes(), tensor)
                return tensor

            ids = torch.randint(5, 50, (batch, 64))
            places = torch.tensor([[3]]).expand(batch, -1)
            bf16 = precision == "bf16"
            with (
                torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor),
                torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16),
            ):
                hidden = hidden_at(model.train(), ids, places)
            saved[layers, batch] = sum(size for size, _ in storages.values())
            del hidden
    growth = {n: saved[n, 4] - saved[n, 2] for n in (1, 3)}
    return (growth[3] - growth[1]) / (2 * 2 * 64)


@pytest.mark.parametrize(("family", "precision"), ACTIVATION_BYTES)
def test_activation_bytes_are_what_autograd_saves(family, precision):
    per_width, per_intermediate = ACTIVATION_BYTES[family, precision]
    for width, intermediate in ((128, 256), (128, 512)):
        saved = saved_per_token(family, precision, width, intermediate)
        assert saved == pytest.approx(per_width * width + per_intermediate * intermediate, rel=0.02)


def edited(**changes):
    """The paper scale of the project's params.yaml with changed values."""
    params = load_params(ROOT / "params.yaml").model_copy(update={"scale": "paper"})
    scale = params.settings
    for section, values in changes.items():
        part = getattr(scale, section)
        if section == "corpus":
            values = {"vocabulary": part.vocabulary.model_copy(update=values)}
        scale = scale.model_copy(update={section: part.model_copy(update=values)})
    return params.model_copy(update={"scales": params.scales | {"paper": scale}})


VOCABULARY = {"file": None, "size": 30_522}  # the file is not part of the project


def test_predicted_memory_is_what_the_benchmark_measured():
    """results/benchmarks/cpu.json: the paper's shape, batch 64 x 128, float32, without dropout."""
    measured = json.loads((ROOT / "results" / "benchmarks" / "cpu.json").read_text())["memory"]
    costs = arm_costs(
        edited(
            train={"batch": measured["batch"], "precision": measured["precision"], "steps": 10},
            model={"dropout": 0.0, "positions": None},
            corpus=VOCABULARY,
        )
    )
    alone = costs.memory["scratch"] - 16 * costs.parameters["scratch"]
    assert alone == pytest.approx(measured["bytes"]["alone"], rel=0.1)
    both = 16 * costs.parameters["scratch"] + 4 * costs.parameters["weak-teacher"]
    online = costs.memory["normal"] - both
    assert online == pytest.approx(measured["bytes"]["online"], rel=0.1)


def test_fine_tuning_costs_examples_times_epochs_times_seeds_times_grid():
    few = {"tasks": ["cola"], "seeds": 1, "epochs": [1], "learning_rate": [1e-5],
           "batch": 32, "pairs": 1, "examples": None, "checkpoints": False,
           "blimp": None}  # fmt: skip
    many = few | {"seeds": 2, "epochs": [1, 3], "learning_rate": [1e-5, 2e-5, 3e-5]}
    config = build_model(
        dict(family="distilbert", width=32, heads=2, intermediate=64), layers=2,
        vocabulary=Vocabulary(50, 2, 3, 4, (0, 1, 2, 3, 4)), max_length=64,
    ).config  # fmt: skip
    (one, steps), (grid, grid_steps) = (
        evaluation_costs(edited(evaluate=settings), config) for settings in (few, many)
    )
    assert steps == -(-GLUE["cola"].train // 32)
    assert grid_steps == 2 * 3 * (1 + 3) * steps
    # 3 x 8,551 trained on and 1,043 scored; the grid scores 2 x 3 x 2 times, trains 2 x 3 x 4.
    trained, scored = 3 * 8_551, 1_043
    early = edited(evaluate=few | {"checkpoints": ["cola"]})
    assert evaluation_costs(early, config)[1] == (1 + len(early.settings.train.keep)) * steps
    assert grid / one == pytest.approx((24 * trained + 12 * scored) / (trained + scored), rel=0.02)


def test_hours_are_bounded_by_the_longest_chain_of_teacher_student_and_scoring(costs):
    slow = dict(flops_per_second=1e9, kind="cpu")
    one, two, many = (hours(costs, 1, devices=n, **slow)["total"] for n in (1, 2, 100))
    assert two == pytest.approx(one / 2)
    parts = ["student_flops", "teacher_flops", "heldout_flops"]
    chain = costs.loc["scratch", parts].sum() + costs.loc["strong", parts].sum()
    score = costs.loc["strong", "evaluate_flops"]
    assert many == pytest.approx((chain + score) / 1e9 / 3600)
    # Seeds train side by side; one process scores all seeds of an arm.
    three = hours(costs, 3, devices=100, **slow)["total"]
    assert three == pytest.approx((chain + 3 * score) / 1e9 / 3600)


def test_a_gpu_step_and_a_process_take_at_least_their_assumed_time(costs):
    parts = hours(costs, 2, flops_per_second=1e30, kind="gpu")
    runs = 2 * len(costs)
    assert parts["pre-training"] * 3600 == pytest.approx(runs * 20 * STEP_SECONDS["gpu"])
    processes = runs + len(costs) + 1  # training, scoring, scoring of random weights
    assert parts["starting"] * 3600 == pytest.approx(processes * START_SECONDS)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--scale", "huge"], "scale: 'huge' is not a scale; choose one of smoke"),
        (["--accelerator", "TPU"], "--accelerator: invalid choice.*H200"),
        (["--mfu", "45"], "--mfu: 45.0 is out of range"),
        (["--devices", "0"], "--devices: 0 is out of range"),
    ],
)
def test_invalid_arguments_are_refused(monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(ROOT)
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert re.search(message, f"{stop.value.code} {capsys.readouterr().err}")


def test_an_accelerator_is_named_in_any_case(monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    shown = []
    for name in ("h100", "H100"):
        main(["--scale", "laptop", "--accelerator", name])
        shown.append(capsys.readouterr().out)
    assert shown[0] == shown[1] and "1 x H100" in shown[0]


def test_a_missing_vocabulary_file_is_replaced_by_bert_sizes_with_a_warning():
    with pytest.warns(UserWarning, match=r"no\.txt is not here; 30,522 tokens are assumed"):
        costs = arm_costs(edited(corpus={"file": "no.txt"}))
    assert costs.parameters["scratch"] == arm_costs(edited(corpus=VOCABULARY)).parameters["scratch"]


@pytest.mark.filterwarnings("ignore:.*tokens are assumed")
def test_the_report_counts_all_runs_and_shows_the_measured_mfu(monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    main(["--scale", "paper", "--accelerator", "H200", "--mfu", "0.5", "--devices", "8"])
    text = capsys.readouterr().out
    params = load_params()
    runs = len(params.seeds) * len(params.names())
    assert f"= {runs} runs of 1,004,464 steps" in text and "8 x H200 at 50% MFU of 989" in text
    measured = json.loads((ROOT / "results" / "benchmarks" / "h200.json").read_text())["shapes"]
    mfu = {
        shape: bf16["contestants"]["online"]["flops_share"][0] * bf16["matrix_product_flops"]
        for shape, bf16 in ((shape, measured[shape]["bf16"]) for shape in measured)
    }
    paper, gpu = (round(100 * mfu[shape] / 989e12) for shape in ("paper", "gpu"))
    assert f"Measured: {paper}% MFU at the paper's shape and {gpu}% at that of gpu" in text
