"""The extended grid's DVC stages, written to extended/dvc.yaml from those of dvc.yaml.

They have a file of their own because DVC has no optional stages: in dvc.yaml, a bare `dvc repro`
would train them. Their tables are not declared as outputs, since the analyses in dvc.yaml read them
and DVC would train the extended runs first.
"""

import json
import re
from pathlib import Path

import yaml

from dwt.config.files import atomic_path
from dwt.config.schema import Params

FILE = Path("extended", "dvc.yaml")
HEADER = """\
# Written by `make extended` from the stages of dvc.yaml; see dwt/pipeline/extended.py.
"""
STANDALONE = "runs/${scale}/%s/standalone"


def write_stages(params: Params) -> Path:
    """Write extended/dvc.yaml for the runs under `extended` in params.yaml.

    Returns
    -------
    Path
        The file, relative to the project's folder.
    """
    template = yaml.safe_load((params.root / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    content = {"vars": ["../params.yaml"], "stages": stages(template, params)}
    text = HEADER + yaml.safe_dump(content, sort_keys=False, default_flow_style=None, width=100)
    path = params.root / FILE
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        with atomic_path(path) as partial:
            partial.write_text(text, encoding="utf-8")
        print(f"{FILE} written; `git add extended` keeps the record of its runs.", flush=True)
    return FILE


def stages(template: dict, params: Params) -> dict:
    """The stages of the extended grid.

    Parameters
    ----------
    template : dict
        The stages of dvc.yaml; of `standalone`, `student`, `teachers` and `collect`, the paths and
        parameters are rewritten.
    params : Params
    """
    runs = {"standalone": {}, "student": {}}
    for arm, seed in params.runs_of("extended"):
        kind, section = (
            ("standalone", "models") if arm in params.all_models else ("student", "arms")
        )
        if arm not in getattr(params, section):
            section = f"extended.{section}"
        # DVC resolves ${scale} in keys, too, so the file is valid at every scale.
        runs[kind][f"${{scale}}-{arm}-{seed}"] = {"arm": arm, "seed": seed, "section": section}
    standalone, student = (_foreach(template[kind], runs[kind]) for kind in runs)
    teachers, collect = _extended(template["teachers"]), _extended(template["collect"])
    if not runs["standalone"]:
        teachers["deps"].remove(STANDALONE % "extended")
    teachers["deps"].append(STANDALONE % "study")
    for stage in (teachers, collect):
        stage["params"].append("extended")
    del collect["outs"]
    tokens = {
        "wdir": "..", "matrix": {"scale": ["${scale}"]},
        "cmd": "python -m dwt.analysis.token_gains",
        "deps": ["data/${scale}", "dwt/analysis/token_gains.py", "dwt/training",
                 STANDALONE % "study", "runs/${scale}/study/student"],
        "params": ["arms", "models", "scales.${scale}.train", "seeds"],
    }  # fmt: skip
    made = dict(
        standalone=standalone, teachers=teachers, student=student, collect=collect, tokens=tokens
    )
    return {name: stage for name, stage in made.items() if stage}


def _extended(stage):
    """A stage of dvc.yaml with the folders and the argument of the extended grid."""
    text = re.sub(r'(?<=[/ ])study(?=[/"])', "extended", json.dumps(stage))
    stage = {"wdir": "..", **json.loads(text)}
    del stage["desc"]
    return stage


def _foreach(stage, runs):
    """The stage once per run; None without runs."""
    if not runs:
        return None
    stage = _extended(stage)
    del stage["matrix"]
    stage["params"] = [
        re.sub(r"^(arms|models)(?=\.\$\{item\.arm\})", "${item.section}", name)
        for name in stage["params"]
    ]
    return {"foreach": runs, "do": stage}
