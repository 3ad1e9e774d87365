"""The fine-tuning tasks that `evaluate.tasks` in params.yaml may name.

GLUE (Wang et al. 2019) has the columns, label codes and sizes of the hub's `nyu-mll/glue`.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class GlueTask:
    """One task of GLUE."""

    title: str  # its name in print
    columns: tuple[str, ...]  # one or two texts
    labels: tuple[str, ...]  # name of label k; empty for a regression task
    metrics: tuple[str, ...]  # keys of `dwt.evaluation.metrics.METRICS`
    tokens: int  # of a mean example, cut at 128, in bert-base-uncased's vocabulary
    train: int  # official number of examples
    validation: dict[str, int]  # by set; "matched" is the split validation_matched


_ONE, _PAIR = ("sentence",), ("sentence1", "sentence2")
_ENTAILMENT = ("entailment", "not_entailment")
_ACCURACY, _BOTH = ("accuracy",), ("accuracy", "f1")

# Add new tasks at the end: the position of a task seeds the draw of its examples.
GLUE = {
    "cola": GlueTask(
        "CoLA", _ONE, ("unacceptable", "acceptable"), ("matthews",), 11, 8_551, {"": 1_043}
    ),
    "sst2": GlueTask("SST-2", _ONE, ("negative", "positive"), _ACCURACY, 13, 67_349, {"": 872}),
    "mrpc": GlueTask("MRPC", _PAIR, ("not_equivalent", "equivalent"), _BOTH, 53, 3_668, {"": 408}),
    "qqp": GlueTask(
        "QQP", ("question1", "question2"), ("not_duplicate", "duplicate"), _BOTH,
        30, 363_846, {"": 40_430},
    ),
    "stsb": GlueTask("STS-B", _PAIR, (), ("pearson", "spearman"), 28, 5_749, {"": 1_500}),
    "mnli": GlueTask(
        "MNLI", ("premise", "hypothesis"), ("entailment", "neutral", "contradiction"),
        _ACCURACY, 39, 392_702, {"matched": 9_815, "mismatched": 9_832},
    ),
    "qnli": GlueTask(
        "QNLI", ("question", "sentence"), _ENTAILMENT, _ACCURACY, 51, 104_743, {"": 5_463}
    ),
    "rte": GlueTask("RTE", _PAIR, _ENTAILMENT, _ACCURACY, 67, 2_490, {"": 277}),
    "wnli": GlueTask("WNLI", _PAIR, _ENTAILMENT[::-1], _ACCURACY, 37, 635, {"": 71}),
}  # fmt: skip
HELDOUT_TASKS = ("missing-word", "function-words")  # made from held-out text
TASKS = (*HELDOUT_TASKS, *GLUE)
