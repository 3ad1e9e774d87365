"""`make check`: claim by claim, whether the results at hand are those in git."""

import subprocess
import sys

import pandas as pd
import pytest
from conftest import ROOT, run
from projects import project_copy

from dwt.config.params import load_params, resolve
from dwt.pipeline.check import TOLERANCE, compare

COMMITTED = pd.read_csv(ROOT / "results" / "laptop" / "summary" / "claims.csv")


def result(here, there=COMMITTED):
    return compare(here, there).set_index("claim")["result"]


def test_the_same_table_is_reproduced_claim_by_claim():
    assert {*result(COMMITTED)} == {"reproduced"}
    assert len(result(COMMITTED)) == len(COMMITTED)


@pytest.mark.parametrize("column", ["mean", "low", "high"])
def test_a_mean_or_bound_differs_beyond_the_tolerance_only(column):
    for way in (-1, 1):
        near, far = COMMITTED.copy(), COMMITTED.copy()
        near.loc[3, column] += way * 0.9 * TOLERANCE
        far.loc[3, column] += way * 1.1 * TOLERANCE
        assert {*result(near)} == {"reproduced"}
        assert result(far).value_counts().to_dict() == {
            "reproduced": len(COMMITTED) - 1,
            "differs": 1,
        }


def test_another_verdict_differs_whatever_the_numbers():
    other = COMMITTED.assign(verdict="undecided")
    differs = result(other) == "differs"
    assert differs.sum() == (COMMITTED["verdict"] != "undecided").sum() > 0


def test_claims_that_one_table_lacks_are_named():
    assert (result(COMMITTED.iloc[1:]) == "only in git").sum() == 1
    assert (result(COMMITTED, COMMITTED.iloc[1:]) == "only here").sum() == 1


def check(root):
    return run(sys.executable, "-m", "dwt.pipeline.check", cwd=root)


def test_the_command_says_what_was_not_run_here_and_fails_if_a_claim_differs(tmp_path):
    root = project_copy(tmp_path)
    assert "is not in the last commit" in check(root).stderr
    subprocess.run(["git", "add", "-A"], cwd=root, check=True)
    who = ["-c", "user.name=x", "-c", "user.email=x@y"]
    subprocess.run(["git", *who, "commit", "-qm", "x"], cwd=root, check=True)
    done = check(root)
    assert done.returncode == 1 and f"{len(COMMITTED)} not run here" in done.stdout
    params = load_params(root / "params.yaml")
    for name, seed in params.runs_of("study"):
        folder = resolve(name, seed, params).directory
        folder.mkdir(parents=True)
        (folder / "run.json").write_text("{}")
    done, arms = check(root), {*params.names()}
    of_study = sum({claim.arm, claim.against} <= arms for claim in params.claims.values())
    assert done.returncode == 0 and f"{of_study} reproduced" in done.stdout
    assert f"{len(COMMITTED) - of_study} not run here" in done.stdout
    file = root / "results" / "laptop" / "summary" / "claims.csv"
    COMMITTED.assign(mean=COMMITTED["mean"] + 1).to_csv(file, index=False)
    done = check(root)
    assert done.returncode == 1 and f"{len(COMMITTED)} differs" in done.stdout
    file.unlink()
    assert check(root).stderr == ("results/laptop/summary/claims.csv is missing; run make study\n")
