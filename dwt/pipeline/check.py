"""Whether the results at hand are those in git: `make check`.

Claim by claim, mean, interval and verdict are compared with those of the last commit. A claim about
arms that were not trained here, as those of the extended grid, is not reproduced and is named.
"""

import io
import subprocess
import sys

import pandas as pd

from dwt.analysis.tables import TablesError, table
from dwt.config.params import ParamsError, load_params, resolve
from dwt.config.schema import Params

TOLERANCE = 0.01  # nats; less can still flip a verdict whose bound is as near to zero


def committed(params: Params, file: str) -> str | None:
    """A file of the last commit; None if git or the commit does not have it."""
    try:
        show = ["git", "show", f"HEAD:./{file}"]
        git = subprocess.run(show, cwd=params.root, capture_output=True, text=True)
    except OSError:
        return None
    return git.stdout if git.returncode == 0 else None


def compare(here: pd.DataFrame, there: pd.DataFrame) -> pd.DataFrame:
    """Each claim of either table: what is the same, what differs, by how much.

    Parameters
    ----------
    here, there : DataFrame
        Two tables of claims: claim, mean, low, high, verdict.

    Returns
    -------
    DataFrame
        claim, difference (the largest of mean and bounds, nats), verdict, result: "reproduced",
        "differs", "only here" or "only in git".
    """
    both = here.merge(there, on="claim", how="outer", suffixes=("", "_there"), sort=False)
    off = pd.concat([(both[k] - both[f"{k}_there"]).abs() for k in ("mean", "low", "high")], axis=1)
    both["difference"] = off.max(axis=1)
    same = both["verdict"] == both["verdict_there"]
    both["result"] = "differs"
    both.loc[same & (both["difference"] <= TOLERANCE), "result"] = "reproduced"
    both.loc[both["verdict_there"].isna(), "result"] = "only here"
    both.loc[both["verdict"].isna(), "result"] = "only in git"
    both["verdict"] = both["verdict"].fillna(both["verdict_there"])
    return both[["claim", "difference", "verdict", "result"]]


def main() -> None:
    """Print the comparison; exit with 1 if a claim differs or is missing."""
    try:
        params = load_params()
        table("runs", params)  # refused where the settings have no results
    except (ParamsError, TablesError) as error:
        sys.exit(str(error))
    file = params.path("results", "summary", "claims.csv")
    name = file.relative_to(params.root).as_posix()
    if not file.is_file():
        sys.exit(f"{name} is missing; run make study")
    if (text := committed(params, name)) is None:
        sys.exit(f"{name} is not in the last commit, so there is nothing to compare with")
    claims = compare(pd.read_csv(file), pd.read_csv(io.StringIO(text)))
    trained = {name for name in params.all_names() if all(
        (resolve(name, seed, params).directory / "run.json").is_file() for seed in params.seeds
    )}  # fmt: skip
    for i, name in claims["claim"].items():
        claim = params.claims.get(name)
        local = claim is None or {claim.arm, claim.against} <= trained
        if claims.loc[i, "result"] == "reproduced" and not local:
            claims.loc[i, "result"] = "not run here"
    print(claims.to_string(index=False, float_format="{:.4f}".format))
    counts = claims["result"].value_counts()
    print(f"\nScale {params.scale}: " + ", ".join(f"{n} {what}" for what, n in counts.items())
          + f" (mean and bounds within {TOLERANCE} nats, same verdict).")  # fmt: skip
    if "not run here" in counts:
        print(
            "Claims that were not run here have arms without runs in runs/; the numbers are git's."
        )
    failed = claims["result"].isin(["differs", "only in git"]).any()
    sys.exit(bool(failed or "reproduced" not in counts))


if __name__ == "__main__":
    main()
