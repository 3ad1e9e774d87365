"""The README says what the committed tables say."""

import json
import re

import pandas as pd
from conftest import ROOT

from dwt.analysis import summaries as answers
from dwt.analysis.tables import table
from dwt.config.params import load_params

README = (ROOT / "README.md").read_text(encoding="utf-8")
LAPTOP = ROOT / "results" / "laptop"


def claim_row(claim):
    """A claim as the README shows it."""
    found = f"{claim.mean:+.3f} ({claim.low:+.3f} to {claim.high:+.3f})".replace("-", "−")
    return f"| {claim.statement} | {claim.paper} | {found} | {claim.n} | {claim.verdict} |"


def test_the_ledger_is_that_of_the_committed_results():
    ledger = pd.read_csv(LAPTOP / "evidence" / "claims.csv")
    assert len(ledger) >= 12
    assert ledger[["low", "high"]].notna().all(axis=None)
    rows = [claim_row(claim) for claim in ledger.itertuples()]
    verdicts = r"(supported|contradicted|undecided) \|$"
    assert rows == [line for line in README.splitlines() if re.search(verdicts, line)]


def test_what_the_extended_grid_says_is_its_committed_answer():
    answer = (LAPTOP / "evidence" / "answer.md").read_text(encoding="utf-8")
    text = README[README.index("## The extended grid") : README.index("![Gain of the soft loss")]
    said = [line for line in text.splitlines() if line.startswith("- ")]
    assert len(said) >= 5
    for line in said:
        assert line in answer.splitlines()


def scale_rows(found):
    """The table of the scales, one row a claim, as the README shows it."""
    unit = {"heldout_loss": "", "out_of_domain_loss": ""}
    for (statement, measure), rows in found.groupby(["statement", "measure"], sort=False):
        name = statement + unit.get(measure, f", by {measure.split(' (')[0]}")
        cells = []
        for scale in found.loc[found["verdict"].isna() == (measure not in unit), "scale"].unique():
            row = rows[rows["scale"] == scale].squeeze()
            cell = "not run"
            if len(row):
                cell = f"{row['mean']:+.3f} ({row['low']:+.3f} to {row['high']:+.3f})"
                cell = cell.removesuffix(" (+nan to +nan)").replace("-", "−")
                cell = cell if pd.isna(row["verdict"]) else f"{row['verdict']}, {cell}"
            cells.append(cell)
        yield f"| {name} | {' | '.join(cells)} |"


def test_the_table_of_the_scales_is_that_of_the_committed_results():
    found = pd.read_csv(ROOT / "results" / "scales.csv")
    text = README[README.index("## On other text") : README.index("## Run it")]
    shown = [line for line in text.splitlines() if line.startswith("| ") and "| claim" not in line]
    assert shown and shown == [*scale_rows(found)]
    assert (ROOT / "results" / "scales.md").read_text(encoding="utf-8").strip() in text
    params, text = load_params(ROOT / "params.yaml"), re.sub(r"\s+", " ", text)
    for scale in found["scale"].unique():
        train, model = params.scales[scale].train, params.scales[scale].model
        said = text[text.index(f"- **{scale}**: ") :].partition(" - **")[0]
        assert f"width {model.width}" in said
        assert f"{train.steps:,} steps of {train.batch} x {train.length} tokens" in said
        assert f"seeds {', '.join(map(str, params.seeds))}" in said


def test_the_order_of_models_by_size_is_that_of_the_committed_scores():
    params = load_params(ROOT / "params.yaml").model_copy(update={"scale": "laptop"})
    assert answers.say_orders(table("scores", params), table("runs", params)) in README


def test_the_finding_is_the_committed_answer():
    answer = (LAPTOP / "answer.md").read_text(encoding="utf-8").strip()
    said = [line for line in answer.splitlines() if line.startswith("- ")]
    assert len(said) >= 3
    for line in said:
        assert line in README


def step_row(found, shape, precision):
    """What a step costs, as the README shows it."""
    kinds = found["shapes"][shape][precision]["contestants"]
    rates = (f"{kinds[k]['tokens_per_second'][0]:,.0f}" for k in ("naive", "online", "cached"))
    cached = kinds["cached"]
    return (
        f"| {shape}, {precision} | {' | '.join(rates)} | {cached['speedup'][0]:.2f} | "
        f"{cached['step_over_alone'][0]:.2f} |"
    )


def test_the_table_of_step_costs_is_that_of_the_benchmark():
    found = json.loads((ROOT / "results" / "benchmarks" / "cpu.json").read_text())
    rows = {step_row(found, s, p) for s in found["shapes"] for p in found["shapes"][s]}
    shown = {line for line in README.splitlines() if re.match(r"\| \w+, (fp32|bf16) \|", line)}
    assert shown == rows


def test_minutes_memory_and_disk_of_the_pipelines_are_those_measured():
    found = json.loads((ROOT / "results" / "benchmarks" / "whole.json").read_text())
    text = re.sub(r"\s+", " ", README)
    study, evidence = found["study"], found["evidence"]
    assert study["installed_before"] and study["trained"] == study["models"] == 33
    assert (
        f"it took {study['minutes']:.0f} minutes without installing, at most "
        f"{study['peak_gb']:.1f} GB of memory at once, and {study['made_gb']:.1f} GB of disk"
    ) in text
    assert f"CPU build of PyTorch, {study['environment_gb']:.1f} GB more" in text
    minutes, share = evidence["minutes"], evidence["share_of_operations"]
    assert (
        f"{evidence['models']} runs; in {minutes:.0f} minutes two cores did {100 * share:.0f} % of "
        f"their operations, so all of them take about {minutes / share / 60:.1f} hours"
    ) in text


def test_every_file_the_readme_links_to_exists():
    assert "@@" not in README
    links = re.findall(r"\]\(([^)#]+)\)", README)
    local = [link for link in links if not link.startswith("http")]
    assert local
    assert [link for link in local if not (ROOT / link).exists()] == []


def test_the_tree_in_the_readme_names_every_module():
    modules = {path.name for path in (ROOT / "dwt").glob("[a-z]*.py")}
    assert {name for name in modules if name not in README} == set()
