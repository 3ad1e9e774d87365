"""What is GLUE, and how much of it was used? Nine tasks, their columns, codes, metrics and sizes.

Wang et al. 2019, *GLUE: A Multi-Task Benchmark and Analysis Platform for Natural Language
Understanding*, as the hub's `nyu-mll/glue` has it.
"""

from dataclasses import dataclass

MOST = 5.0  # STS-B's scores go from 0 to this


@dataclass(frozen=True)
class Glue:
    """One task: its name in print, its text columns, and what label k is called.

    Without `labels` the label is a score. `train` and `validation` are the official numbers of
    examples; a task with several validation sets has one in each split `validation_<set>`.
    """

    title: str
    texts: tuple
    labels: tuple
    metrics: tuple
    train: int
    validation: dict


_PAIR = ("sentence1", "sentence2")
_FOLLOWS = ("entailment", "not_entailment")
_BOTH = ("accuracy", "f1")

GLUE = {
    "cola": Glue(
        "CoLA", ("sentence",), ("unacceptable", "acceptable"), ("matthews",), 8_551, {"": 1_043}
    ),
    "sst2": Glue(
        "SST-2", ("sentence",), ("negative", "positive"), ("accuracy",), 67_349, {"": 872}
    ),
    "mrpc": Glue("MRPC", _PAIR, ("not_equivalent", "equivalent"), _BOTH, 3_668, {"": 408}),
    "qqp": Glue(
        "QQP", ("question1", "question2"), ("not_duplicate", "duplicate"), _BOTH, 363_846,
        {"": 40_430},
    ),
    "stsb": Glue("STS-B", _PAIR, (), ("pearson", "spearman"), 5_749, {"": 1_500}),
    "mnli": Glue(
        "MNLI", ("premise", "hypothesis"), ("entailment", "neutral", "contradiction"),
        ("accuracy",), 392_702, {"matched": 9_815, "mismatched": 9_832},
    ),
    "qnli": Glue("QNLI", ("question", "sentence"), _FOLLOWS, ("accuracy",), 104_743, {"": 5_463}),
    "rte": Glue("RTE", _PAIR, _FOLLOWS, ("accuracy",), 2_490, {"": 277}),
    "wnli": Glue("WNLI", _PAIR, _FOLLOWS[::-1], ("accuracy",), 635, {"": 71}),
}  # fmt: skip


def glue_note(scores) -> str:
    """One sentence on what of GLUE a table of scores rests on, to stand beside it.

    Parameters
    ----------
    scores : DataFrame
        As `dwt.analysis.tables.table` gives it: columns task, metric, examples, train_examples.

    Returns
    -------
    str
        Which tasks had fewer examples than GLUE has, to learn from or to be scored on, and which
        are left out; empty if the table has no GLUE task.
    """
    rows = scores[scores["task"].isin([*GLUE])]
    if rows.empty:
        return ""
    learnt, scored = [], []
    for name, task in GLUE.items():
        of_task = rows[rows["task"] == name]
        if of_task.empty:
            continue
        if (used := of_task["train_examples"].dropna()).size and used.max() < task.train:
            learnt.append(f"{task.title} ({used.max():,} of {task.train:,})")
        for part, official in task.validation.items():
            found = of_task[of_task["metric"].str.endswith(f"({part})")] if part else of_task
            if found["examples"].max() < official:
                shown = f"{task.title} {part}".strip()
                scored.append(f"{shown} ({found['examples'].max():,} of {official:,})")
    left_out = [task.title for name, task in GLUE.items() if name not in {*rows["task"]}]
    said = [
        f"{what} {', '.join(which)}"
        for what, which in (
            ("reduced training sets:", learnt),
            ("reduced validation sets:", scored),
            ("left out:", left_out),
        )
        if which
    ]
    return f"GLUE: {'; '.join(said) if said else 'all nine tasks, complete'}."
