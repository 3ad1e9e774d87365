"""Distillation from Weak Teacher: a small, old language model teaches a larger, new one.

Public names, imported at first use:

=================== ===============================================================
`dwt_loss`          the objective, from the logits of student and teacher
`linear_dwt_loss`   the same from hidden states, without holding all logits
`weight_at`         soft-loss weight at a point of training
`remap`             fills a student from the weights of a smaller teacher
`build_model`       a masked language model with fresh weights
`load_params`       reads and checks params.yaml
`resolve`           an arm and a seed of params.yaml -> a run
`pretrain`          trains a run, or resumes it
=================== ===============================================================

Packages; each imports from those below it only:

========== =================================================================
pipeline   notebooks, stages, costs, the report
analysis   tables -> statistics -> claims -> sentences and figures
evaluation zero-shot and fine-tuned scores
training   losses, models, teachers, the training loop
data       text -> vocabulary -> token ids
config     params.yaml -> checked, resolved runs
========== =================================================================
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # for type checkers and editors
    from dwt.config.params import load_params as load_params
    from dwt.config.params import resolve as resolve
    from dwt.training.loss import dwt_loss as dwt_loss
    from dwt.training.loss import linear_dwt_loss as linear_dwt_loss
    from dwt.training.models import build_model as build_model
    from dwt.training.remapping import remap as remap
    from dwt.training.schedule import weight_at as weight_at
    from dwt.training.train import pretrain as pretrain

_MODULES = {
    "build_model": "training.models",
    "dwt_loss": "training.loss",
    "linear_dwt_loss": "training.loss",
    "load_params": "config.params",
    "pretrain": "training.train",
    "remap": "training.remapping",
    "resolve": "config.params",
    "weight_at": "training.schedule",
}
__all__ = list(_MODULES)


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
