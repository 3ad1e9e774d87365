"""What does params.yaml ask for, and is it sound?

Every notebook and stage starts with `load_params`, which checks the whole file, so that a
misspelt arm is refused before anything is trained. What may stand where is in `dwt.schema`.
"""

import hashlib
import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import yaml
from pydantic import ValidationError

from dwt.schema import Arm, Claim, Model, Params, Part, Scale, Schedule, Section


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

    @property
    def directory(self) -> Path:
        return self.root / "runs" / self.scale / self.kind / self.arm / str(self.seed)

    @property
    def corpus_directory(self) -> Path:
        return self.root / "data" / self.scale

    def settings(self) -> dict:
        """All that decides the run's numbers, as JSON types: not where, nor what is cached."""
        settings = asdict(self)
        del settings["root"], settings["cache"]
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
    where = [str(p) for p in error["loc"] if p not in ("number", "schedule", "[key]")]
    if error["type"] == "extra_forbidden":
        return f"{file}: {'.'.join(where)}: unknown key; allowed: {', '.join(_keys_at(where[:-1]))}"
    message = error["msg"].removeprefix("Value error, ")
    given = "" if error["type"] in ("missing", "value_error") else f" (found {error['input']!r})"
    return f"{file}: {'.'.join(where)}: {message}{given}"


def _keys_at(where):
    """The keys allowed at a place, found by walking the classes of `dwt.schema`."""
    section = Params
    for part in where:
        if part in ("arms", "models", "scales", "claims"):
            section = {"arms": Arm, "models": Model, "scales": Scale, "claims": Claim}[part]
        elif part in ("soft_weight", "parts"):
            section = {"soft_weight": Schedule, "parts": Part}[part]
        elif issubclass(section, Section) and part in section.model_fields:
            section = section.model_fields[part].annotation
    return [field.alias or name for name, field in section.model_fields.items() if name != "root"]


def _cross_check(params):
    """Faults that take two places of the file to see."""
    allowed = ", ".join
    if params.scale not in params.scales:
        yield f"scale: '{params.scale}' is not a scale; choose one of {allowed(params.scales)}"
    for name in params.compare:
        if name not in params.scales:
            yield f"compare: '{name}' is not a scale; choose from {allowed(params.scales)}"
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
        model=scale.model.model_dump(exclude_none=True), train=scale.train.model_dump(),
        cache=params.cache.model_dump(),
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
