"""Side by side: each scale by its own numbers, scales without results left out by name."""

import re
import shutil

import pandas as pd
import pytest
from conftest import ROOT, made_up_scores
from made_up import as_students
from scipy import stats

from dwt.analysis import claims as scales
from dwt.analysis import score_means as measures
from dwt.analysis.comparisons import differences, losses
from dwt.analysis.tables import save, settings_digest, table
from dwt.config.params import ParamsError, load_params

PREFIXES = "", "extended-"


@pytest.fixture
def params(tmp_path):
    """Scale `laptop` with the committed results; `smoke` with the same, arms' losses mirrored."""
    text = (ROOT / "params.yaml").read_text()
    text = re.sub("^compare: .*$", "compare: [laptop, smoke]", text, flags=re.M)
    (tmp_path / "params.yaml").write_text(text)
    for scale in ("laptop", "smoke"):
        tables = tmp_path / "results" / scale / "tables"
        shutil.copytree(ROOT / "results" / "laptop" / "tables", tables)
    params = load_params(tmp_path / "params.yaml")
    at_smoke = params.model_copy(update={"scale": "smoke"})
    for prefix in PREFIXES:
        edit(params, f"{prefix}curves", mirror)
        edit(params, f"{prefix}runs", lambda rows: mirror(rows).assign(
            settings=[settings_digest(at_smoke, arm) for arm in rows["arm"]]))  # fmt: skip
    return params


def mirror(rows):
    return rows.assign(heldout_loss=10 - rows["heldout_loss"])


def edit(params, name, change):
    """A table of the smoke scale, changed."""
    file = params.root / "results" / "smoke" / "tables" / f"{name}.csv"
    save(change(pd.read_csv(file, dtype={"seed": "Int64", "finetune_seed": "Int64"})), file)


def test_each_scale_is_read_from_its_own_tables_whichever_is_run(params):
    for running in ("laptop", "smoke"):
        studies, missing = scales.finished(params.model_copy(update={"scale": running}))
        assert (list(studies), missing) == (["laptop", "smoke"], {})
        measured = (
            scales.claims_by_scale(studies).set_index(["scale", "claim"])["mean"].unstack("scale")
        )
        assert measured["smoke"].to_numpy() == pytest.approx(
            -measured["laptop"].to_numpy(), abs=1e-5
        )


def test_a_claim_at_a_scale_is_the_paired_t_interval_of_that_scale(params):
    studies, _ = scales.finished(params)
    row = (
        scales.claims_by_scale(studies).query("scale == 'smoke' and claim == 'weak-helps'").iloc[0]
    )
    loss = losses(table("runs", studies["smoke"]))
    test = stats.ttest_rel(loss["normal"], loss["scratch"])  # of six seeds
    low, high = test.confidence_interval(0.95)
    assert (row["low"], row["high"]) == pytest.approx((low, high))
    assert row["verdict"] == "contradicted"


def test_a_scale_that_was_not_run_is_left_out_and_said(params):
    shutil.rmtree(params.root / "results" / "smoke")
    studies, missing = scales.finished(params)
    assert list(studies) == ["laptop"]
    file = "results/smoke/tables/runs.csv"
    assert missing == {"smoke": f"{file} is missing; run the study with `scale: smoke`"}


def test_a_scale_that_lacks_a_declared_arm_is_shown_without_its_claims(params):
    edit(params, "runs", lambda rows: rows[rows["arm"] != "strong"])
    for name in ("extended-runs", "extended-curves"):
        edit(params, name, lambda rows: rows[rows["arm"] != "strong"])
    studies, missing = scales.finished(params)
    assert list(studies) == ["laptop", "smoke"] and not missing
    measured = scales.claims_by_scale(studies)
    strong = {
        name for name, claim in params.claims.items() if "strong" in (claim.arm, claim.against)
    }
    shown = measured.groupby("scale")["claim"].agg(set)
    assert shown["laptop"] - shown["smoke"] == strong


def test_a_scale_with_other_settings_than_its_tables_is_left_out_by_its_reason(params):
    for prefix in PREFIXES:
        edit(params, f"{prefix}runs", lambda rows: rows.assign(settings="of before"))
    studies, missing = scales.finished(params)
    assert list(studies) == ["laptop"]
    assert "no run of 'scratch'" in missing["smoke"]


def test_a_scale_that_ran_fewer_seeds_is_shown_with_those(params):
    for prefix in PREFIXES[1:]:
        for name in ("runs", "curves"):
            (params.root / "results" / "smoke" / "tables" / f"{prefix}{name}.csv").unlink()
    for name in ("runs", "curves", "scores"):
        edit(params, name, lambda rows: rows[rows["seed"].isna() | (rows["seed"] == 1)])
    studies, missing = scales.finished(params)
    assert not missing and studies["smoke"].seeds == [1] and studies["laptop"].seeds == [0, 1, 2]
    measured = scales.claims_by_scale(studies).query("scale == 'smoke'")
    assert {*measured["n"]} == {1} and {*measured["verdict"]} == {"undecided"}


def test_no_scale_at_all_is_no_error(params):
    measured = scales.claims_by_scale({})
    assert measured.empty and "No scale" in scales.as_markdown(measured)


def test_the_table_has_one_row_a_claim_and_one_column_a_scale(params):
    measured = scales.claims_by_scale(scales.finished(params)[0])
    measured = measured[(measured["scale"] == "laptop") | (measured["claim"] == "decay-helps")]
    head, _, *rows = scales.as_markdown(measured).splitlines()
    assert head == "| claim (gain in nats per masked token) | laptop | smoke |"
    assert len(rows) == len(params.claims)
    assert rows[0].startswith("| A weak teacher helps the student | supported, +0.191 (+0.114 to ")
    assert [row.endswith("| not run |") for row in rows].count(False) == 1


def test_scores_make_a_second_table_without_verdicts(params):
    made = as_students(made_up_scores(params.names(), glue={"rte": {"accuracy": 0.6}}), params)
    made.loc[(made["arm"] == "normal") & (made["task"] == "rte"), "score"] += 0.05
    edit(params, "scores", lambda rows: pd.concat([rows, made], ignore_index=True))
    measured = scales.claims_by_scale(scales.finished(params)[0])
    assert {*measured[measured["verdict"].isna()]["scale"]} == {"smoke"}
    text = scales.as_markdown(measured)
    assert "| claim (gain in score) | smoke |" in text
    assert "| A weak teacher helps the student, by GLUE mean | +0.050 (+0.050 to +0.050) |" in text


def test_the_glue_mean_is_a_measure_of_every_factor(params):
    made = as_students(made_up_scores(params.names(), glue={"rte": {"accuracy": 0.6}}), params)
    made.loc[(made["arm"] == "very-weak") & (made["task"] == "rte"), "score"] -= 0.2
    edit(params, "scores", lambda rows: pd.concat([rows, made], ignore_index=True))
    there = params.model_copy(update={"scale": "smoke"})
    rows = differences(there, "teacher-quality")
    means = rows[rows["measure"].str.startswith(f"{measures.GLUE_MEAN} (1 of 9")]
    against_first = means[means["against"] == "scratch"].set_index("arm")["mean"]
    assert against_first["very-weak"] == pytest.approx(-0.2)
    assert against_first["normal"] == pytest.approx(0, abs=1e-9)
    at_laptop = differences(params, "teacher-quality")["measure"]
    assert not at_laptop.str.contains("GLUE").any()


def test_a_scale_to_compare_that_is_none_is_refused(params):
    file = params.root / "params.yaml"
    file.write_text(file.read_text().replace("[laptop, smoke]", "[laptop, wiki]"))
    with pytest.raises(ParamsError, match="compare: 'wiki' is not a scale; choose from smoke, "):
        load_params(file)
