"""What does one arm of a scale take? Counted from its shapes; nothing is trained or downloaded.

`dwt.pipeline.cost_report` adds up and prints.
"""

import pandas as pd
import torch

from dwt.config.params import resolve
from dwt.data.vocabulary import Vocabulary, vocabulary_size
from dwt.training.batches import masked_per_sequence
from dwt.training.models import build_model, count_parameters, forward_flops
from dwt.training.schedule import weight_at

# Examples to train on and to score, and WordPieces of one with [CLS] and [SEP] (at most 128): rows
# of the hub's `glue`; lengths are means measured with the vocabulary of bert-base-uncased.
GLUE = {
    "cola": (8_551, 1_043, 11), "sst2": (67_349, 872, 13), "mrpc": (3_668, 408, 53),
    "qqp": (363_846, 40_430, 30), "stsb": (5_749, 1_500, 28), "mnli": (392_702, 19_647, 39),
    "qnli": (104_743, 5_463, 51), "rte": (2_490, 277, 67), "wnli": (635, 71, 37),
}  # fmt: skip
OFFLINE_TOKENS = 30  # of an example of the tasks made from held-out text
SENTENCE_TOKENS = 15  # of a sentence of BLiMP, 4,096 pieces
BLIMP_SETS, BLIMP_PAIRS, PAIR_KINDS = 67, 1000, 3
SAVED = {  # bytes a layer keeps for the backward pass, per token: of its width, of its inner width
    ("modernbert", "fp32"): (40, 16), ("modernbert", "bf16"): (24, 8),
    ("distilbert", "fp32"): (32, 8), ("distilbert", "bf16"): (24, 4),
    ("bert", "fp32"): (32, 8), ("bert", "bf16"): (24, 4),
}  # fmt: skip
COMPILED = 0.63  # share of these that compiled code keeps: 1.55 of 2.46 GB at the paper's shape
CHARACTERS_PER_TOKEN = 4.4  # of WordPieces, Wikipedia (4.7) and novels (4.1)


def costs_of(params):
    """What every arm of the scale in hand will take, for one seed.

    Parameters
    ----------
    params : dwt.config.schema.Params

    Returns
    -------
    DataFrame
        One row per arm. parameters; steps; tokens; student_flops and teacher_flops, as run.json
        will say them; watch_flops (held-out losses); evaluate_flops and evaluate_steps
        (fine-tuning and zero-shot scores); memory, disk and cache in bytes.
    """
    size = vocabulary_size(params)
    rows = pd.DataFrame([_arm(params, name, size) for name in params.names()]).set_index("arm")
    return rows.astype({name: float for name in rows if name != "kind"})  # sums pass 2**63


def _arm(params, name, size):
    run = resolve(name, params.seeds[0], params)
    train, shape = run.train, run.model
    student = _model(run, run.layers, size)
    trained = run.teacher_directory is not None  # a teacher that only counts costs next to nothing
    teacher = _model(run, params.models[run.teacher].layers, size) if trained else None
    masked = masked_per_sequence(train["length"], train["mask_rate"])
    one = dict(length=train["length"], masked=masked)
    each = {"batch": train["batch"], **one}
    spoken = _steps_with_a_teacher(run)
    read = train["steps"] // train["evaluate_every"] * train["evaluate_sequences"]
    read += 2 * train["final_sequences"]
    flops, steps = evaluation_cost(params, student.config)
    parameters, silent = count_parameters(student), 0
    if teacher is not None:
        silent = 4 * count_parameters(teacher)
    bf16 = train["precision"] == "bf16"
    return {
        "arm": name,
        "kind": run.kind,
        "parameters": parameters,
        "steps": train["steps"],
        "tokens": train["steps"] * train["batch"] * train["length"],
        "student_flops": 3 * train["steps"] * forward_flops(student.config, **each),
        "teacher_flops": spoken * forward_flops(teacher.config, **each) if trained else 0,
        "watch_flops": forward_flops(student.config, batch=read, **one),
        "evaluate_flops": flops,
        "evaluate_steps": steps,
        # AdamW: weights, gradients and two moments, four bytes each; the teacher has weights only.
        "memory": 16 * parameters + silent + _working_bytes(run, size),
        "disk": _run_bytes(run, parameters, size),
        "resume": 12 * parameters,
        "cache": trained * spoken * train["batch"] * masked * shape["width"] * (2 if bf16 else 4),
    }


def _model(run, layers, size):
    """The model without its weights."""
    vocabulary = Vocabulary(size, 2, 3, 4, (0, 1, 2, 3, 4))
    with torch.device("meta"):
        return build_model(
            run.model, layers=layers, vocabulary=vocabulary, max_length=run.train["length"]
        )


def _steps_with_a_teacher(run):
    """Steps at which the soft loss has a weight."""
    steps = run.train["steps"]
    if not isinstance(run.soft_weight, dict):
        return steps if run.teacher and run.soft_weight else 0
    return sum(weight_at(run.soft_weight, step / steps) > 0 for step in range(steps))


def _working_bytes(run, size):
    """Beyond weights, gradients and optimizer: activations kept, and what the loss works in."""
    train, shape = run.train, run.model
    wide, inner = SAVED[shape["family"], train["precision"]]
    wide += 2 if shape["dropout"] else 0  # two masks of a byte each
    tokens = train["batch"] // train["accumulate"] * train["length"]
    layers = run.layers * tokens * (wide * shape["width"] + inner * shape["intermediate"])
    if train["compile"] != "off":
        layers *= COMPILED
    # The layer whose gradient is being taken: its inner activations, again, and their gradient.
    layers += 2 * tokens * shape["intermediate"] * (2 if train["precision"] == "bf16" else 4)
    # `linear_dwt_loss`, float32: a chunk of logits and probabilities, of the teacher's too; the
    # output layer's gradient as it is made, in backward and summed. bf16: as on a GPU.
    rows = 2048 if train["precision"] == "bf16" else min(512, max(128, shape["width"]))
    return layers + 4 * size * ((3 if run.teacher else 2) * rows + 3 * shape["width"])


def _run_bytes(run, parameters, size):
    """A finished run: weights, those of the checkpoints that stay, tokenizer, rows."""
    train = run.train
    weights = 4 * parameters * (1 + len({round(k * train["steps"]) for k in train["keep"]}))
    return weights + 25 * size + 190 * (train["steps"] // train["log_every"]) + 12_000


def evaluation_cost(params, config):
    """Operations and optimizer steps to score one model: fine-tuning, then zero-shot.

    Of a GLUE task the whole is assumed, at most `evaluate.examples` to train on where that is set,
    and of BLiMP's sets all.
    """
    asked = params.settings.evaluate
    early = asked.tasks if asked.checkpoints is True else asked.checkpoints or []
    flops = steps = 0
    for task in asked.tasks:
        examples, scored, length = GLUE.get(
            task, (asked.examples, 3 * (asked.examples or 0), OFFLINE_TOKENS)
        )
        examples = min(examples, asked.examples or examples)
        forward = forward_flops(config, batch=1, length=length, masked=0)
        weights = 1 + (task in early) * len(params.settings.train.keep)
        times = asked.seeds * len(asked.learning_rate) * weights
        flops += times * sum(forward * (3 * n * examples + scored) for n in asked.epochs)
        steps += times * sum(n * -(-examples // asked.batch) for n in asked.epochs)
    of_blimp = BLIMP_SETS * (asked.blimp_pairs or BLIMP_PAIRS) if asked.blimp else 0
    sentences = 2 * (asked.pairs * PAIR_KINDS + of_blimp)
    n = SENTENCE_TOKENS  # read once for each, that one masked; [CLS] and [SEP] beside them
    return flops + forward_flops(config, batch=sentences * n, length=n + 2, masked=1), steps


def corpus_bytes(params):
    """Of the token ids: those built, else by `limit_mb`, else unknown (None)."""
    if (folder := params.path("data")).is_dir():
        return sum(file.stat().st_size for file in folder.iterdir())
    limit = params.settings.corpus.limit_mb
    return limit and 2e6 * limit / CHARACTERS_PER_TOKEN


def cache_bytes(costs, params):
    """States of each teacher that speaks, once for all its students."""
    each = {params.arms[arm].teacher: costs.cache[arm] for arm in params.arms if costs.cache[arm]}
    return len(params.seeds) * sum(each.values())
