"""Side by side: each scale by its own numbers, what has none left out by name."""

import re
import shutil

import pandas as pd
import pytest
from conftest import ROOT, made_up_scores
from scipy import stats

from dwt.analysis import comparisons as findings
from dwt.analysis import cross_scale as scales
from dwt.analysis import score_means as measures
from dwt.analysis.tables import save, table
from dwt.config.params import ParamsError, load_params


@pytest.fixture
def params(tmp_path):
    """Scale `laptop` with the committed results; `smoke` with the same, arms' losses mirrored."""
    text = (ROOT / "params.yaml").read_text()
    text = re.sub("^compare: .*$", "compare: [laptop, smoke]", text, flags=re.M)
    (tmp_path / "params.yaml").write_text(text)
    shutil.copytree(ROOT / "results" / "laptop", tmp_path / "results" / "laptop")
    params = load_params(tmp_path / "params.yaml")
    for name in ("runs", "curves", "scores"):
        rows = table(name, params)
        if "heldout_loss" in rows:
            rows["heldout_loss"] = 10 - rows["heldout_loss"]
        save(rows, tmp_path / "results" / "smoke" / f"{name}.csv")
    return params


def edit(params, name, change):
    """A table of the smoke scale, changed."""
    file = params.root / "results" / "smoke" / f"{name}.csv"
    save(change(pd.read_csv(file, dtype={"seed": "Int64", "finetune_seed": "Int64"})), file)


def test_each_scale_is_read_from_its_own_tables_whichever_is_run(params):
    for running in ("laptop", "smoke"):
        studies, missing = scales.finished(params.model_copy(update={"scale": running}))
        assert (list(studies), missing) == (["laptop", "smoke"], {})
        found = scales.verdicts(studies).set_index(["scale", "claim"])["mean"].unstack("scale")
        assert found["smoke"].to_numpy() == pytest.approx(-found["laptop"].to_numpy(), abs=1e-5)


def test_a_claim_at_a_scale_is_the_paired_t_interval_of_that_scale(params):
    studies, _ = scales.finished(params)
    row = scales.verdicts(studies).query("scale == 'smoke' and claim == 'weak-helps'").iloc[0]
    loss = findings.losses(table("runs", studies["smoke"]))
    test = stats.ttest_rel(loss["normal"], loss["scratch"])
    low, high = test.confidence_interval(0.95)
    assert (row["low"], row["high"]) == pytest.approx((low, high))
    assert row["verdict"] == "contradicted"


def test_a_scale_that_was_not_run_is_left_out_and_said(params):
    shutil.rmtree(params.root / "results" / "smoke")
    studies, missing = scales.finished(params)
    assert list(studies) == ["laptop"]
    assert missing == {"smoke": "results/smoke/runs.csv is missing; run the study at scale smoke"}


def test_a_scale_that_lacks_a_declared_arm_is_left_out_by_the_arms_name(params):
    edit(params, "curves", lambda rows: rows[rows["arm"] != "strong"])
    studies, missing = scales.finished(params)
    assert list(studies) == ["laptop"]
    assert "results/smoke/curves.csv: no row for student 'strong'" in missing["smoke"]


def test_a_scale_that_ran_fewer_seeds_is_shown_with_those(params):
    for name in ("runs", "curves", "scores"):
        edit(params, name, lambda rows: rows[rows["seed"].isna() | (rows["seed"] == 1)])
    studies, missing = scales.finished(params)
    assert not missing and studies["smoke"].seeds == [1] and studies["laptop"].seeds == [0, 1, 2]
    found = scales.verdicts(studies).query("scale == 'smoke'")
    assert {*found["n"]} == {1} and {*found["verdict"]} == {"undecided"}


def test_no_scale_at_all_is_no_error(params):
    found = scales.verdicts({})
    assert found.empty and "No scale" in scales.as_markdown(found)


def test_the_table_has_one_row_a_claim_and_one_column_a_scale(params):
    found = scales.verdicts(scales.finished(params)[0])
    found = found[(found["scale"] == "laptop") | (found["claim"] == "decay-helps")]
    head, _, *rows = scales.as_markdown(found).splitlines()
    assert head == "| claim (nats per masked token) | laptop | smoke |"
    assert len(rows) == len(params.claims)
    assert rows[0].startswith("| A weak teacher helps the student | supported, −0.230 (−0.436 to ")
    assert [row.endswith("| not run |") for row in rows].count(False) == 1


def test_scores_are_compared_at_the_last_step_without_a_verdict(params):
    glue = {"cola": {"matthews": 0.2}, "rte": {"accuracy": 0.6}}
    made = made_up_scores(params.names(), glue=glue, phenomena=("binding",))
    made.loc[(made["arm"] == "normal") & (made["task"] == "rte"), "score"] += 0.1
    runs = table("runs", params).drop_duplicates("arm").set_index("arm")["kind"]
    made["kind"] = made["arm"].map(runs).fillna("baseline")
    made["score"] += made["seed"].fillna(0).astype(float) * 0.01
    edit(params, "scores", lambda rows: pd.concat([rows, made], ignore_index=True))
    studies, _ = scales.finished(params)
    found = scales.verdicts(studies)
    scored = found[found["verdict"].isna()]
    assert {*scored["scale"]} == {"smoke"}
    assert {*scored["measure"]} == {"GLUE mean (2 of 9 tasks)", "BLiMP (minimal-pair accuracy)"}
    assert {*scored["claim"]} == {name for name, c in params.claims.items() if c.at == 1}
    row = scored.query("claim == 'weak-helps' and measure.str.startswith('GLUE')").iloc[0]
    assert (row["mean"], row["n"]) == (pytest.approx(0.05), 3)
    text = scales.as_markdown(found)
    assert "| A weak teacher helps the student, by GLUE mean | +0.050 (+0.050 to +0.050) |" in text


def test_the_glue_mean_is_a_measure_of_every_factor(params):
    made = made_up_scores(params.names(), glue={"rte": {"accuracy": 0.6}})
    made["kind"] = made["kind"].where(~made["arm"].isin(params.arms), "student")
    made.loc[(made["arm"] == "very-weak") & (made["task"] == "rte"), "score"] -= 0.2
    edit(params, "scores", lambda rows: pd.concat([rows, made], ignore_index=True))
    there = params.model_copy(update={"scale": "smoke"})
    rows = findings.differences(there, "teacher-quality")
    means = rows[rows["measure"].str.startswith(f"{measures.GLUE_MEAN} (1 of 9")]
    against_first = means[means["against"] == "scratch"].set_index("arm")["mean"]
    assert against_first["very-weak"] == pytest.approx(-0.2)
    assert against_first["normal"] == pytest.approx(0, abs=1e-9)
    at_laptop = findings.differences(params, "teacher-quality")["measure"]
    assert not at_laptop.str.contains("GLUE").any()


def test_a_scale_to_compare_that_is_none_is_refused(params):
    file = params.root / "params.yaml"
    file.write_text(file.read_text().replace("[laptop, smoke]", "[laptop, wiki]"))
    with pytest.raises(ParamsError, match="compare: 'wiki' is not a scale; choose from smoke, "):
        load_params(file)
