"""What does params.yaml ask for, and is it sound?

Every notebook and stage starts with `load_params`, which checks the whole file, so that a
misspelt arm is refused before anything is trained. What may stand where is in `dwt.config.schema`.
"""

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import yaml
from pydantic import ValidationError

from dwt.config.checks import faults_between, filled_in
from dwt.config.scale import Part, Scale, Section
from dwt.config.schema import COUNTED, Arm, Claim, Model, Params, Schedule


class ParamsError(ValueError):
    """params.yaml is missing, is not YAML or asks for something that cannot be."""


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
    cache: dict
    context: str | None = None
    grid: str = "study"
    teacher_grid: str = "study"

    @property
    def directory(self) -> Path:
        return self._runs(self.grid) / self.kind / self.arm / str(self.seed)

    @property
    def teacher_directory(self) -> Path | None:
        """Where the teacher of the same seed lies; None where there is none to be trained."""
        if self.teacher is None or self.teacher in COUNTED:
            return None
        return self._runs(self.teacher_grid) / "standalone" / self.teacher / str(self.seed)

    def _runs(self, grid) -> Path:
        return self.root / "runs" / self.scale / grid

    @property
    def corpus_directory(self) -> Path:
        return self.root / "data" / self.scale

    def settings(self) -> dict:
        """All that decides the run's numbers, as JSON types: not where, nor what is cached."""
        settings = asdict(self)
        for place in ("root", "cache", "grid", "teacher_grid"):
            del settings[place]
        if self.context is None:  # unsaid by nearly all: their records need no such line
            del settings["context"]
        return json.loads(json.dumps(settings))


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
    faults = list(faults_between(params))
    if faults:
        raise ParamsError("\n".join(f"{path.name}: {fault}" for fault in faults))
    return params


def _explain(file, error):
    """One pydantic error as `file: key: what is wrong; what is allowed`."""
    where = [str(p) for p in error["loc"] if p not in ("number", "schedule", "[key]")]
    if error["type"] == "extra_forbidden":
        return f"{file}: {'.'.join(where)}: unknown key; allowed: {', '.join(_keys_at(where[:-1]))}"
    message = error["msg"].removeprefix("Value error, ")
    given = "" if error["type"] in ("missing", "value_error") else f" (found {error['input']!r})"
    return f"{file}: {'.'.join(where)}: {message}{given}"


def _keys_at(where):
    """The keys allowed at a place, found by walking the classes of `dwt.config.schema`."""
    section = Params
    for part in where:
        if part in ("arms", "models", "scales", "claims"):
            section = {"arms": Arm, "models": Model, "scales": Scale, "claims": Claim}[part]
        elif part in ("soft_weight", "parts"):
            section = {"soft_weight": Schedule, "parts": Part}[part]
        elif issubclass(section, Section) and part in section.model_fields:
            section = section.model_fields[part].annotation
    return [field.alias or name for name, field in section.model_fields.items() if name != "root"]


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
    scale, models, arms = params.settings, params.all_models, params.all_arms
    if arm not in models and arm not in arms:
        names = ", ".join([*models, *arms])
        raise ParamsError(f"arm: '{arm}' is not in params.yaml; choose one of {names}")
    asked = models[arm] if arm in models else filled_in(params, arms[arm])
    train = scale.train.model_dump()
    train["steps"] = round(asked.budget * train["steps"])
    common = dict(
        scale=params.scale, arm=arm, seed=seed, root=params.root,
        model=scale.model.model_dump(exclude_none=True), train=train,
        cache=params.cache.model_dump(), grid=params.grid_of(arm, seed),
    )  # fmt: skip
    if arm in models:
        return Run(
            kind="standalone", layers=asked.layers, teacher=None, hard_weight=1.0,
            soft_weight=0.0, temperature=1.0, remap=None, **common,
        )  # fmt: skip
    student = asked.model_dump(by_alias=True, exclude={"budget"})
    return Run(
        kind="student", layers=models["scratch"].layers,
        teacher_grid=params.grid_of(student["teacher"], seed), **student, **common,
    )  # fmt: skip


if __name__ == "__main__":
    try:
        checked = load_params()
    except ParamsError as fault:
        sys.exit(str(fault))
    print(
        f"params.yaml is sound: scale {checked.scale}, "
        f"{len(checked.names())} arms x {len(checked.seeds)} seeds"
    )
