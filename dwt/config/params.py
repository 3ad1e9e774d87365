"""Reads and checks all of params.yaml, and resolves an arm and a seed to a run."""

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from dwt.config.checks import conflicts, with_defaults
from dwt.config.schema import CONTEXT_FREE, Params
from dwt.config.section import choices, explain


class ParamsError(ValueError):
    """params.yaml is missing, is not YAML or asks for something that cannot be."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """One arm, one seed, every setting resolved."""

    scale: str
    kind: str  # standalone or student
    arm: str
    seed: int
    layers: int
    model: dict[str, Any]
    train: dict[str, Any]
    teacher: str | None = None
    hard_weight: float = 1.0
    soft_weight: float | dict[str, Any] = 0.0
    temperature: float = 1.0
    remap: str | None = None
    root: Path
    cache: dict[str, Any]
    context: str | None = None
    grid: str = "study"
    teacher_grid: str = "study"

    @property
    def directory(self) -> Path:
        """Folder of the finished run."""
        return self.root / "runs" / self.scale / self.grid / self.kind / self.arm / str(self.seed)

    @property
    def teacher_directory(self) -> Path | None:
        """Folder of the teacher of the same seed; None where no teacher is trained."""
        if self.teacher is None or self.teacher in CONTEXT_FREE:
            return None
        runs = self.root / "runs" / self.scale / self.teacher_grid
        return runs / "standalone" / self.teacher / str(self.seed)

    @property
    def corpus_directory(self) -> Path:
        """Folder of the corpus of its scale."""
        return self.root / "data" / self.scale

    def settings(self) -> dict[str, Any]:
        """All that decides the run's numbers, as JSON types; neither folders nor the cache."""
        settings = asdict(self)
        for key in ("root", "cache", "grid", "teacher_grid"):
            del settings[key]
        if self.context is None:  # runs made before this key existed keep their digest
            del settings["context"]
        return json.loads(json.dumps(settings))


def load_params(path: str | Path | None = None, *, scale: str | None = None) -> Params:
    """Read and check params.yaml: `path`, or the one in the working directory or nearest parent.

    `scale` takes the place of the scale that the file names.

    Raises ParamsError if there is none, or with one line per fault: file, key, what is allowed.
    """
    if path is None:
        here = Path.cwd()
        files = (folder / "params.yaml" for folder in (here, *here.parents))
        path = next((file for file in files if file.is_file()), None)
    if path is None:
        raise ParamsError(f"no params.yaml in {here} or above it; run from the project's folder")
    path = Path(path)
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ParamsError(f"{path.name}: {error}") from error
    if not isinstance(content, dict):
        raise ParamsError(f"{path.name}: expected keys and values, found {content!r:.60}")
    content |= {} if scale is None else {"scale": scale}
    try:
        params = Params.model_validate(content).model_copy(update={"root": path.resolve().parent})
    except ValidationError as error:
        faults = [explain(fault, Params) for fault in error.errors()]
    else:
        faults = list(conflicts(params))
    if faults:
        raise ParamsError("\n".join(f"{path.name}: {fault}" for fault in faults))
    return params


def resolve(arm: str, seed: int, params: Params | None = None) -> Run:
    """One arm and one seed, as one run with every setting filled in.

    Parameters
    ----------
    arm : a key of `models` (no teacher) or of `arms` (a student)
    seed : initialisation, batch order and masks; the teacher of a student has the same seed
    params : by default those of `load_params`

    Raises ParamsError if there is no such arm, or the seed is not a whole number below 2**32.
    """
    params = params or load_params()
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**32:
        raise ParamsError(f"seed: {seed!r} is not a whole number from 0 to {2**32 - 1}")
    scale, models, arms = params.settings, params.all_models, params.all_arms
    if arm not in models and arm not in arms:
        names = choices(arm, params.all_names())
        raise ParamsError(f"arm: '{arm}' is not in params.yaml; choose one of {names}")
    declared = models[arm] if arm in models else with_defaults(params, arms[arm])
    train = scale.train.model_dump()
    train["steps"] = round(declared.budget * train["steps"])
    common: dict[str, Any] = dict(
        scale=params.scale, arm=arm, seed=seed, root=params.root,
        model=scale.model.model_dump(exclude_none=True), train=train,
        cache=params.cache.model_dump(), grid=params.grid_of(arm, seed),
    )  # fmt: skip
    if arm in models:
        return Run(kind="standalone", layers=models[arm].layers, **common)
    student = declared.model_dump(by_alias=True, exclude={"budget"})
    return Run(
        kind="student", layers=models["scratch"].layers,
        teacher_grid=params.grid_of(student["teacher"], seed), **student, **common,
    )  # fmt: skip


if __name__ == "__main__":
    try:
        checked = load_params()
    except ParamsError as fault:
        sys.exit(str(fault))
    size = f"{len(checked.names())} arms x {len(checked.seeds)} seeds"
    print(f"params.yaml is sound: scale {checked.scale}, {size}")
