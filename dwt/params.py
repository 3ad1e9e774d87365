"""What does params.yaml ask for, and is it sound?

Every notebook and stage starts with `load_params`, which checks the whole file, so that a
misspelt arm is refused before anything is trained.
"""

import hashlib
import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    Tag,
    ValidationError,
    model_validator,
)

Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0)]


class ParamsError(ValueError):
    """params.yaml is missing, is not YAML or asks for something that cannot be."""


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Schedule(Section):
    """A soft-loss weight that moves; see `dwt.loss.weight_at`."""

    from_: NonNegativeFloat = Field(alias="from")
    to: NonNegativeFloat
    shape: Literal["linear", "cosine", "exponential", "step"] = "linear"
    until: Annotated[float, Field(gt=0, le=1)] = 1.0

    @model_validator(mode="after")
    def _exponential_needs_positive_ends(self):
        if self.shape == "exponential" and not (self.from_ > 0 and self.to > 0):
            raise ValueError("an exponential schedule needs 'from' and 'to' above 0")
        return self


def _kind_of_weight(value):
    return "schedule" if isinstance(value, dict | Schedule) else "number"


Weight = Annotated[
    Annotated[NonNegativeFloat, Tag("number")] | Annotated[Schedule, Tag("schedule")],
    Discriminator(_kind_of_weight),
]


class Vocabulary(Section):
    size: PositiveInt | None = None
    alphabet: PositiveInt = 150
    file: str | None = None


class Corpus(Section):
    source: Literal["docstrings", "files", "hub"]
    vocabulary: Vocabulary
    heldout: Annotated[float, Field(gt=0, lt=1)]
    out_of_domain: Any
    packages: list[str] | None = None
    files: list[str] | None = None
    limit_mb: PositiveFloat | None = None
    path: str | None = None
    name: str | None = None
    split: str | None = None
    revision: str | None = None
    column: str = "text"

    @model_validator(mode="after")
    def _source_has_its_key(self):
        key = {"docstrings": "packages", "files": "files", "hub": "path"}[self.source]
        if not getattr(self, key):
            raise ValueError(f"source '{self.source}' needs the key '{key}'")
        return self


class Shape(Section):
    family: Literal["modernbert", "distilbert", "bert"]
    width: PositiveInt
    heads: PositiveInt
    intermediate: PositiveInt
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    initializer_range: PositiveFloat = 0.02

    @model_validator(mode="after")
    def _heads_divide_width(self):
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is not a multiple of heads {self.heads}")
        return self


class Train(Section):
    steps: PositiveInt
    batch: PositiveInt
    length: Annotated[int, Field(ge=4)]
    mask_rate: Annotated[float, Field(gt=0, lt=1)]
    learning_rate: PositiveFloat
    betas: tuple[Share, Share] = (0.9, 0.98)
    weight_decay: NonNegativeFloat = 0.01
    warmup: Share = 0.06
    clip: PositiveFloat = 1.0
    precision: Literal["fp32", "bf16"] = "fp32"
    threads: PositiveInt = 1
    accumulate: PositiveInt = 1
    log_every: PositiveInt
    evaluate_every: PositiveInt
    evaluate_sequences: PositiveInt
    final_sequences: PositiveInt
    checkpoint_every: PositiveInt
    keep: list[Annotated[float, Field(gt=0, lt=1)]] = []

    @model_validator(mode="after")
    def _batch_splits_evenly(self):
        if self.batch % self.accumulate:
            raise ValueError(f"batch {self.batch} is not a multiple of {self.accumulate=}")
        if self.evaluate_every % self.log_every:
            raise ValueError("evaluate_every must be a multiple of log_every")
        return self


class Evaluate(Section):
    pairs: PositiveInt
    seeds: PositiveInt
    epochs: PositiveInt
    learning_rate: PositiveFloat
    batch: PositiveInt
    examples: PositiveInt
    tasks: Annotated[list[Literal["missing-word", "function-words"]], Field(min_length=1)]


class Scale(Section):
    corpus: Corpus
    model: Shape
    train: Train
    evaluate: Evaluate


class Model(Section):
    layers: PositiveInt


class Arm(Section):
    teacher: str
    hard_weight: NonNegativeFloat = 1.0
    soft_weight: Weight = 1.0
    temperature: PositiveFloat = 1.0
    remap: Literal["repeat-last"] | None = None


class Defaults(Arm):
    teacher: None = None


class Verdict(Section):
    level: Annotated[float, Field(gt=0, lt=1)]


class Claim(Section):
    statement: str
    paper: str
    arm: str
    against: str
    measure: Literal["heldout_loss", "out_of_domain_loss"]
    expect: Literal["lower", "higher"]
    at: Annotated[float, Field(gt=0, le=1)] = 1.0

    @model_validator(mode="after")
    def _curves_are_held_out(self):
        if self.at < 1 and self.measure != "heldout_loss":
            raise ValueError("'at' below 1 needs measure heldout_loss, the one along the run")
        return self


class Params(Section):
    """The checked content of params.yaml; `root` is the folder that holds it."""

    scale: str
    seeds: Annotated[list[Count], Field(min_length=1)]
    scales: dict[str, Scale]
    models: dict[str, Model]
    defaults: Defaults
    arms: dict[str, Arm]
    factors: dict[str, list[str]]
    verdict: Verdict
    claims: dict[str, Claim]
    root: Path = Path()

    @property
    def settings(self) -> Scale:
        """The settings of the scale that is being run."""
        return self.scales[self.scale]

    def path(self, *parts) -> Path:
        """`path("runs", ...)` -> <root>/runs/<scale>/...: a place of this scale."""
        return self.root.joinpath(parts[0], self.scale, *map(str, parts[1:]))

    def names(self) -> list[str]:
        """Stand-alone models, then students: the rows of every table."""
        return [*self.models, *self.arms]


@dataclass(frozen=True)
class Run:
    """One arm, one seed, every setting resolved."""

    scale: str
    kind: str  # standalone or student
    arm: str
    seed: int
    layers: int
    model: dict
    train: dict
    teacher: str | None
    hard_weight: float
    soft_weight: float | dict
    temperature: float
    remap: str | None
    root: Path

    @property
    def directory(self) -> Path:
        return self.root / "runs" / self.scale / self.kind / self.arm / str(self.seed)

    @property
    def corpus_directory(self) -> Path:
        return self.root / "data" / self.scale

    def settings(self) -> dict:
        """All that decides the run's numbers, as JSON types."""
        settings = asdict(self)
        del settings["root"]
        return json.loads(json.dumps(settings))


def digest(value) -> str:
    """SHA-256 of a JSON value, 16 hexadecimal digits."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def load_params(path=None) -> Params:
    """Read and check params.yaml.

    Parameters
    ----------
    path : path-like, optional
        The file; by default params.yaml in the working directory or the nearest parent.

    Raises
    ------
    ParamsError
        If there is no such file, or with one line per fault: file, key, what is allowed.
    """
    if path is None:
        here = Path.cwd()
        found = [p / "params.yaml" for p in (here, *here.parents) if (p / "params.yaml").is_file()]
        if not found:
            raise ParamsError(
                f"no params.yaml in {here} or above it; run from the project's folder"
            )
        path = found[0]
    path = Path(path)
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ParamsError(f"{path.name}: {error}") from error
    if not isinstance(content, dict):
        raise ParamsError(f"{path.name}: expected keys and values, found {type(content).__name__}")
    try:
        params = Params(**content, root=path.resolve().parent)
    except ValidationError as error:
        raise ParamsError("\n".join(_explain(path.name, e) for e in error.errors())) from None
    faults = list(_cross_check(params))
    if faults:
        raise ParamsError("\n".join(f"{path.name}: {fault}" for fault in faults))
    return params


def _explain(file, error):
    """One pydantic error as `file: key: what is wrong; what is allowed`."""
    where = [str(p) for p in error["loc"] if p not in ("number", "schedule")]
    if error["type"] == "extra_forbidden":
        return f"{file}: {'.'.join(where)}: unknown key; allowed: {', '.join(_keys_at(where[:-1]))}"
    message = error["msg"].removeprefix("Value error, ")
    given = "" if error["type"] in ("missing", "value_error") else f" (found {error['input']!r})"
    return f"{file}: {'.'.join(where)}: {message}{given}"


def _keys_at(where):
    """The keys allowed at a place, found by walking the classes above."""
    section = Params
    for part in where:
        if part in ("arms", "models", "scales", "claims"):
            section = {"arms": Arm, "models": Model, "scales": Scale, "claims": Claim}[part]
        elif part == "soft_weight":
            section = Schedule
        elif issubclass(section, Section) and part in section.model_fields:
            section = section.model_fields[part].annotation
    return [field.alias or name for name, field in section.model_fields.items() if name != "root"]


def _cross_check(params):
    """Faults that take two places of the file to see."""
    allowed = ", ".join
    if params.scale not in params.scales:
        yield f"scale: '{params.scale}' is not a scale; choose one of {allowed(params.scales)}"
    if len(set(params.seeds)) < len(params.seeds):
        yield f"seeds: {params.seeds} names a seed twice"
    if "scratch" not in params.models:
        yield "models: 'scratch', the student trained alone, is missing"
        return
    for name in params.models.keys() & params.arms.keys():
        yield f"arms.{name}: there is a model of that name; give the arm another"
    student = params.models["scratch"].layers
    for name, arm in params.arms.items():
        key = f"arms.{name}"
        if arm.teacher not in params.models:
            yield (
                f"{key}.teacher: '{arm.teacher}' is not a model; "
                f"choose one of {allowed(params.models)}"
            )
            continue
        teacher = params.models[arm.teacher].layers
        if arm.remap and teacher > student:
            yield (
                f"{key}.remap: the student ({student} layers, models.scratch) is smaller than its "
                f"teacher '{arm.teacher}' ({teacher}); choose a teacher of at most {student} layers"
            )
        resolved = _resolved(params, arm)
        if resolved.hard_weight == 0 and resolved.soft_weight == 0:
            yield f"{key}: hard_weight and soft_weight are both 0: nothing to learn from"
    for factor, arms in params.factors.items():
        for name in arms:
            if name not in params.names():
                yield (
                    f"factors.{factor}: '{name}' is not an arm; "
                    f"choose from {allowed(params.names())}"
                )
    for name, claim in params.claims.items():
        for side in ("arm", "against"):
            if getattr(claim, side) not in params.names():
                yield (
                    f"claims.{name}.{side}: '{getattr(claim, side)}' is not an arm; "
                    f"choose from {allowed(params.names())}"
                )


def _resolved(params, arm):
    """The arm with what it leaves out taken from `defaults`."""
    given = {key: getattr(arm, key) for key in arm.model_fields_set}
    defaults = {key: getattr(params.defaults, key) for key in Arm.model_fields if key != "teacher"}
    return Arm(**{**defaults, **given})


def resolve(arm, seed, params=None) -> Run:
    """One arm and one seed, as one run with every setting filled in.

    Parameters
    ----------
    arm : str
        A key of `models` (trained alone) or of `arms` (a student).
    seed : int
        Initialisation, batch order and masks; the student of seed s learns from the
        teacher of seed s.

    Raises
    ------
    ParamsError
        If there is no such arm, or the seed is not a whole number of at least 0.
    """
    params = params or load_params()
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise ParamsError(f"seed: {seed!r} is not a whole number of at least 0")
    scale = params.settings
    common = dict(
        scale=params.scale, arm=arm, seed=seed, root=params.root,
        model=scale.model.model_dump(), train=scale.train.model_dump(),
    )  # fmt: skip
    if arm in params.models:
        return Run(
            kind="standalone", layers=params.models[arm].layers, teacher=None, hard_weight=1.0,
            soft_weight=0.0, temperature=1.0, remap=None, **common,
        )  # fmt: skip
    if arm not in params.arms:
        raise ParamsError(
            f"arm: '{arm}' is not in params.yaml; choose one of {', '.join(params.names())}"
        )
    student = _resolved(params, params.arms[arm]).model_dump(by_alias=True)
    return Run(kind="student", layers=params.models["scratch"].layers, **student, **common)


if __name__ == "__main__":
    try:
        checked = load_params()
    except ParamsError as fault:
        sys.exit(str(fault))
    print(
        f"params.yaml is sound: scale {checked.scale}, "
        f"{len(checked.names())} arms x {len(checked.seeds)} seeds"
    )
