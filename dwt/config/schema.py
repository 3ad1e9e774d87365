"""The sections of params.yaml, but for a scale's: the values allowed in each, their defaults."""

import re
from itertools import product
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Discriminator,
    Field,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    Tag,
    model_validator,
)
from pydantic_core import PydanticCustomError

from dwt.config.scale import Scale, on_off
from dwt.config.section import Section

Seed = Annotated[int, Field(ge=0, lt=2**32, strict=True)]  # as NumPy and scikit-learn take it
BASELINES = ("baseline", "random", "chance", "majority")  # in the scores, beside the arms
CONTEXT_FREE = ("unigram", "uniform")  # teachers that are not trained


def _folder_name(name: str) -> str:
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]*", name):
        allowed = "lower-case letters, digits and, after the first, hyphens"
        raise ValueError(f"{name!r} cannot name a folder here; allowed are {allowed}")
    if name in (taken := (*BASELINES, *CONTEXT_FREE)):
        kind = "baseline" if name in BASELINES else "teacher that is not trained"
        raise ValueError(f"{name!r} is the name of a {kind}; choose any but {', '.join(taken)}")
    return name


Name = Annotated[str, AfterValidator(_folder_name)]


class Schedule(Section):
    """A soft-loss weight that changes; see `dwt.training.schedule.weight_at`."""

    from_: NonNegativeFloat = Field(alias="from")
    to: NonNegativeFloat
    shape: Literal["linear", "cosine", "exponential", "step", "adaptive"] = "linear"
    until: Annotated[float, Field(gt=0, le=1)] = 1.0

    @model_validator(mode="after")
    def _shape_allows_the_values(self):
        if self.shape == "exponential" and not (self.from_ > 0 and self.to > 0):
            raise ValueError("an exponential schedule needs 'from' and 'to' above 0")
        if self.shape == "adaptive" and "until" in self.model_fields_set:
            raise ValueError("an adaptive schedule has no 'until': it ends where the gap does")
        return self


Weight = Annotated[
    Annotated[NonNegativeFloat, Tag("number")] | Annotated[Schedule, Tag("schedule")],
    Discriminator(lambda given: "schedule" if isinstance(given, dict | Schedule) else "number"),
]


class Model(Section):
    """A model trained without a teacher."""

    layers: PositiveInt
    budget: PositiveFloat = 1.0  # share of train.steps; the learning rate schedule is as long


class Arm(Section):
    """A student: its teacher, and what it takes from it."""

    teacher: str  # a model, or one of CONTEXT_FREE
    budget: PositiveFloat = 1.0
    context: Literal["shuffled"] | None = None  # teacher states permuted across masked positions
    hard_weight: NonNegativeFloat = 1.0
    soft_weight: Weight = 1.0
    temperature: PositiveFloat = 1.0
    remap: Literal["repeat-last"] | None = None


class Defaults(Arm):
    """Values of the keys that an arm leaves out."""

    teacher: None = None  # type: ignore[assignment]  # every arm names its own


class Verdict(Section):
    """The rule that decides claims."""

    level: Annotated[float, Field(gt=0, lt=1)]


class Claim(Section):
    """A statement about two arms, decided by the difference between them."""

    statement: str
    paper: str
    arm: str
    against: str
    measure: Literal["heldout_loss", "out_of_domain_loss", "equal_flops_loss"]
    expect: Literal["lower", "higher"]
    at: Annotated[float, Field(gt=0, le=1)] = 1.0

    @model_validator(mode="after")
    def _curves_are_held_out(self):
        if self.at < 1 and self.measure != "heldout_loss":
            raise ValueError("'at' below 1 needs measure heldout_loss, the only one with a curve")
        return self


class Extended(Section):
    """Runs beyond those of the study, trained by `make extended`."""

    seeds: list[Seed] = []  # more seeds of every model and arm of the study
    models: dict[Name, Model] = {}
    arms: dict[Name, Arm] = {}


class Cache(Section):
    """Caches; no number depends on them."""

    teacher: Annotated[Literal["auto", "off"], BeforeValidator(on_off)] = "auto"
    limit_gb: PositiveFloat = 2.0


def _unknown_key(value: object) -> None:
    raise PydanticCustomError("extra_forbidden", "unknown key")


class Params(Section):
    """The checked content of params.yaml; `load_params` sets `root`, the folder that holds it."""

    scale: str
    seeds: Annotated[list[Seed], Field(min_length=1)]
    cache: Cache = Cache()
    compare: list[str] = []
    scales: dict[str, Scale]
    models: dict[Name, Model]
    defaults: Defaults
    arms: dict[Name, Arm]
    analyses: dict[Name, list[str]]
    verdict: Verdict
    claims: dict[str, Claim]
    extended: Extended = Extended()
    root: Annotated[Path, BeforeValidator(_unknown_key)] = Path()

    @property
    def settings(self) -> Scale:
        """The settings of the scale that is being run."""
        return self.scales[self.scale]

    def path(self, folder: str, *parts: str | int) -> Path:
        """`path("runs", ...)` -> <root>/runs/<scale>/...: a file or folder of this scale."""
        return self.root.joinpath(folder, self.scale, *map(str, parts))

    def names(self) -> list[str]:
        """Stand-alone models, then students: the rows of every table."""
        return [*self.models, *self.arms]

    @property
    def all_models(self) -> dict[str, Model]:
        """Models of the study and of the extended grid."""
        return self.models | self.extended.models

    @property
    def all_arms(self) -> dict[str, Arm]:
        """Students of the study and of the extended grid."""
        return self.arms | self.extended.arms

    def all_names(self) -> list[str]:
        """All models, then all arms, of the study and of the extended grid."""
        return [*self.all_models, *self.all_arms]

    def grid_of(self, name: str, seed: int) -> str:
        """The grid that a run belongs to: "study" or "extended"."""
        again = seed in self.extended.seeds and seed not in self.seeds
        further = again or name in {*self.extended.models, *self.extended.arms}
        return "extended" if further else "study"

    def runs_of(self, grid: str) -> list[tuple[str, int]]:
        """(name, seed) of every run that a grid, "study" or "extended", declares; models first."""
        if grid not in ("study", "extended"):
            raise ValueError(f"{grid!r} is not a grid; choose study or extended")
        if grid == "study":
            return [*product(self.names(), self.seeds)]
        further, again = self.extended, [s for s in self.extended.seeds if s not in self.seeds]
        models = [*product(further.models, self.seeds), *product(self.models, again)]
        return [*models, *product(further.arms, self.seeds), *product(self.arms, again)]
