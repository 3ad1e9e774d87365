"""Copies of the project that tests run and change."""

import re
import shutil
import subprocess

from conftest import ROOT, run


def project_copy(target):
    """The tracked and new files of the working tree in `target`, as a fresh clone holds them."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout.splitlines()  # fmt: skip
    for name in listed:
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)
    subprocess.run(["git", "init", "-q"], cwd=target, check=True)
    return target


def edit(root, old, new):
    """Replace one piece of params.yaml."""
    file = root / "params.yaml"
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))


def dvc(*args, cwd):
    """A DVC command that succeeds."""
    done = run("dvc", *args, cwd=cwd)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done


def runs_again(cwd, *args):
    """Stages that `dvc repro` would run."""
    output = dvc("repro", "--dry", *args, cwd=cwd).stdout
    return set(re.findall(r"Running stage '([^']+)'", output))
