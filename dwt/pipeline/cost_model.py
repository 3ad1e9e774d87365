"""FLOPs, memory and disk of every arm of a scale, counted from its shapes without training."""

import pandas as pd
import torch
from transformers import PreTrainedConfig

from dwt.config.params import resolve
from dwt.config.schema import Params
from dwt.config.tasks import GLUE
from dwt.data.vocabulary import Vocabulary, vocabulary_size
from dwt.evaluation.minimal_pairs import PAIR_KINDS
from dwt.training.batches import masked_per_sequence
from dwt.training.models import build_model, count_parameters, forward_flops
from dwt.training.schedule import weight_at

HELDOUT_TASK_TOKENS = 30  # of an example of the tasks made from held-out text
SENTENCE_TOKENS = 15  # of a BLiMP sentence, with a vocabulary of 4,096 WordPieces
BLIMP_SETS, BLIMP_PAIRS = 67, 1000
# What autograd saves per token and layer: bytes per unit of width, and of intermediate width.
ACTIVATION_BYTES = {
    ("modernbert", "fp32"): (40, 16), ("modernbert", "bf16"): (24, 8),
    ("distilbert", "fp32"): (32, 8), ("distilbert", "bf16"): (24, 4),
    ("bert", "fp32"): (32, 8), ("bert", "bf16"): (24, 4),
}  # fmt: skip
COMPILED_SHARE = 0.63  # compiled code saves 1.55 of 2.46 GB at the paper's shape
CHARACTERS_PER_TOKEN = 4.4  # WordPieces of Wikipedia (4.7) and novels (4.1)


def arm_costs(params: Params) -> pd.DataFrame:
    """What one seed of every arm of the current scale costs, one row for each arm.

    Columns kind; parameters; steps; tokens; student_flops and teacher_flops, as in run.json;
    heldout_flops (held-out losses); evaluate_flops and evaluate_steps (zero-shot scores and
    fine-tuning); memory, disk, checkpoint (of an unfinished run) and teacher_cache in bytes.
    """
    size = vocabulary_size(params)
    rows = pd.DataFrame([_arm(params, name, size) for name in params.names()]).set_index("arm")
    return rows.astype(dict.fromkeys(rows.columns.drop("kind"), float))  # sums exceed int64


def _arm(params, name, size):
    run = resolve(name, params.seeds[0], params)
    train, steps = run.train, run.train["steps"]
    student = _model(run, run.layers, size)
    # A unigram or uniform teacher costs next to nothing.
    model_of_teacher = params.all_models.get(run.teacher)
    teacher = _model(run, model_of_teacher.layers, size) if model_of_teacher else None
    masked = masked_per_sequence(train["length"], train["mask_rate"])
    sequence = dict(length=train["length"], masked=masked)
    batch = {"batch": train["batch"], **sequence}
    distilled = _distillation_steps(run) if teacher else 0
    heldout = steps // train["evaluate_every"] * train["evaluate_sequences"]
    heldout += 2 * train["final_sequences"]
    copies = 1 + len({round(share * steps) for share in train["keep"]})
    evaluate_flops, evaluate_steps = evaluation_costs(params, student.config)
    parameters = count_parameters(student)
    state_bytes = 2 if train["precision"] == "bf16" else 4
    # Student: weights, gradients, two moments of AdamW; teacher: weights. Four bytes each.
    weights = 16 * parameters + (4 * count_parameters(teacher) if teacher else 0)
    return {
        "arm": name,
        "kind": run.kind,
        "parameters": parameters,
        "steps": steps,
        "tokens": steps * train["batch"] * train["length"],
        "student_flops": 3 * steps * forward_flops(student.config, **batch),
        "teacher_flops": distilled * forward_flops(teacher.config, **batch) if teacher else 0,
        "heldout_flops": forward_flops(student.config, batch=heldout, **sequence),
        "evaluate_flops": evaluate_flops,
        "evaluate_steps": evaluate_steps,
        "memory": weights + _working_bytes(run, size),
        # Weights, and those of `train.keep`; tokenizer, history, settings.
        "disk": 4 * parameters * copies + 25 * size + 190 * (steps // train["log_every"]) + 12_000,
        "checkpoint": 12 * parameters,
        "teacher_cache": distilled * train["batch"] * masked * run.model["width"] * state_bytes,
    }


def _model(run, layers, size):
    """The model without weights."""
    vocabulary, length = Vocabulary(size, 2, 3, 4, (0, 1, 2, 3, 4)), run.train["length"]
    with torch.device("meta"):
        return build_model(run.model, layers=layers, vocabulary=vocabulary, max_length=length)


def _distillation_steps(run):
    """Steps whose soft loss has a weight above 0."""
    steps = run.train["steps"]
    if not isinstance(run.soft_weight, dict):
        return steps if run.soft_weight else 0
    return sum(weight_at(run.soft_weight, step / steps) > 0 for step in range(steps))


def _working_bytes(run, size):
    """Memory beyond weights, gradients and optimizer: activations, and the loss's buffers."""
    train, shape = run.train, run.model
    bf16 = train["precision"] == "bf16"
    per_width, per_intermediate = ACTIVATION_BYTES[shape["family"], train["precision"]]
    per_width += 2 if shape["dropout"] else 0  # two masks of a byte each
    tokens = train["batch"] // train["accumulate"] * train["length"]
    per_token = per_width * shape["width"] + per_intermediate * shape["intermediate"]
    layers = run.layers * tokens * per_token * (COMPILED_SHARE if train["compile"] != "off" else 1)
    # In its backward pass a layer holds its intermediate activations again, and their gradient.
    layers += 2 * tokens * shape["intermediate"] * (2 if bf16 else 4)
    # `linear_dwt_loss`, float32: one chunk of logits and probabilities (the teacher's too), and
    # three copies of the output layer's gradient. The chunk of bf16 is that of a GPU.
    rows = 2048 if bf16 else min(512, max(128, shape["width"]))
    return layers + 4 * size * ((3 if run.teacher else 2) * rows + 3 * shape["width"])


def evaluation_costs(params: Params, config: PreTrainedConfig) -> tuple[float, int]:
    """FLOPs to score one model, fine-tuning included, and steps of the fine-tuning.

    GLUE and BLiMP are assumed complete up to the limits in the section `evaluate`.
    """
    settings = params.settings.evaluate
    early = settings.tasks if settings.checkpoints is True else settings.checkpoints or []
    flops = steps = 0
    for name in settings.tasks:
        if name in GLUE:
            task = GLUE[name]
            examples, length = min(task.train, settings.examples or task.train), task.tokens
            scored = sum(min(n, settings.validation or n) for n in task.validation.values())
        else:
            examples, length = settings.examples or 0, HELDOUT_TASK_TOKENS
            scored = 3 * examples
        forward = forward_flops(config, batch=1, length=length, masked=0)
        weights = 1 + (name in early) * len(params.settings.train.keep)
        repeats = settings.seeds * len(settings.learning_rate) * weights
        flops += repeats * sum(forward * (3 * n * examples + scored) for n in settings.epochs)
        steps += repeats * sum(n * -(-examples // settings.batch) for n in settings.epochs)
    blimp = BLIMP_SETS * (settings.blimp_pairs or BLIMP_PAIRS) if settings.blimp else 0
    sentences = 2 * (settings.pairs * len(PAIR_KINDS) + blimp)
    n = SENTENCE_TOKENS  # one forward pass for each, with [CLS] and [SEP]
    return flops + forward_flops(config, batch=sentences * n, length=n + 2, masked=1), steps


def corpus_bytes(params: Params) -> float | None:
    """Bytes of the token ids: as built, else estimated from `limit_mb`, else None."""
    if (folder := params.path("data")).is_dir():
        return sum(file.stat().st_size for file in folder.iterdir())
    limit = params.settings.corpus.limit_mb
    return limit and 2e6 * limit / CHARACTERS_PER_TOKEN


def cache_bytes(costs: pd.DataFrame, params: Params) -> float:
    """Bytes of all teachers' hidden states: one copy per teacher and seed, for all its students."""
    teachers = pd.Series({name: arm.teacher for name, arm in params.arms.items()})
    return len(params.seeds) * costs.teacher_cache[teachers.index].groupby(teachers).max().sum()
