"""One row and one verdict per claim, over all seeds that both arms have."""

import pandas as pd
import pytest
from conftest import ROOT, made_up_scores
from made_up import as_students, study
from scipy import stats

from dwt.analysis.claims import analysis_of, claims, claims_in_scores, claims_not_run
from dwt.analysis.tables import save, table
from dwt.config.params import load_params


@pytest.fixture(scope="module")
def params(tmp_path_factory):
    return study(tmp_path_factory.mktemp("study"))


def test_every_claim_has_a_row_with_an_interval_over_all_seeds(params):
    measured = claims(params)
    assert [*measured["claim"]] == [*params.claims] and claims_not_run(params) == []
    assert measured[["low", "high"]].notna().all(axis=None)
    by_claim = measured.set_index("claim")
    assert by_claim.loc["weak-helps", "n"] == 6
    assert by_claim.loc["gain-outlasts-the-budget", "n"] == 3
    loss = table("runs", params).pivot(index="seed", columns="arm", values="heldout_loss")
    low, high = stats.ttest_rel(loss["normal"], loss["scratch"]).confidence_interval(0.95)
    row = by_claim.loc["weak-helps"]
    assert (row["low"], row["high"]) == pytest.approx((low, high))


def test_verdicts_are_those_that_the_made_up_losses_imply(params):
    measured = claims(params).set_index("claim")["verdict"]
    assert measured["weak-helps"] == "supported"  # gap 0.1 of 0.4
    assert measured["very-weak-harms"] == "contradicted"  # gap 0.3
    assert measured["extremely-weak-harms"] == "supported"  # gap 0.7
    assert measured["soft-loss-helps-remapped"] == "contradicted"  # gap 0.7 of 0.1
    assert measured["copied-weights-outlast-the-budget"] == "supported"  # 0.6 ahead throughout


def test_claims_about_arms_that_were_not_run_are_left_out_and_named(tmp_path):
    small = study(tmp_path, grids=["study"])
    measured, rest = claims(small), claims_not_run(small)
    # The last two are at equal FLOPs; only copying costs no more than the study's own run.
    assert [*measured["claim"]] == [*params_of_the_study(small), "copying-worth-its-compute"]
    assert {*measured["n"]} == {3}
    assert len(measured) + len(rest) == len(small.claims)
    assert small.claims["worth-its-compute"].statement in rest


def params_of_the_study(params):
    names = {*params.names()}
    return [name for name, claim in params.claims.items()
            if {claim.arm, claim.against} <= names and claim.measure == "heldout_loss"]  # fmt: skip


def test_one_seed_decides_nothing(tmp_path):
    one = load_params(ROOT / "params.yaml").model_copy(update={"root": tmp_path, "seeds": [1]})
    from made_up import write_tables

    write_tables(one, grids=["study"])
    assert {*claims(one)["verdict"]} == {"undecided"}


def test_a_claim_is_shown_by_the_first_analysis_that_names_both_of_its_arms_or_else_one(params):
    where = {name: analysis_of(params, claim) for name, claim in params.claims.items()}
    assert where["weak-helps"] == "teacher-quality"
    assert where["strong-ends-behind"] == where["decay-helps"] == "loss-weight"
    assert where["remapping-ends-behind"] == "parameter-remapping"
    assert where["soft-loss-helps-remapped"] == "parameter-remapping"
    assert where["worth-its-compute"] == "compute"
    assert where["knowledge-beats-smoothing"] == "controls"
    assert where["adaptive-beats-linear"] == where["adaptive-beats-constant"] == "stopping"
    assert {*where.values()} <= {*params.analyses}


def test_scores_are_compared_at_the_last_step_without_a_verdict(tmp_path):
    params = study(tmp_path, grids=["study"])
    made = made_up_scores(params.names(), phenomena=("binding",),
                          glue={"cola": {"matthews": 0.2}, "rte": {"accuracy": 0.6}})  # fmt: skip
    made.loc[(made["arm"] == "normal") & (made["task"] == "rte"), "score"] += 0.1
    made["score"] += made["seed"].fillna(0).astype(float) * 0.01
    file = params.path("results", "tables", "scores.csv")
    save(as_students(made.assign(learning_rate=None, epochs=None), params), file)
    measured = claims_in_scores(params)
    assert {*measured["measure"]} == {"GLUE mean (2 of 9 tasks)", "BLiMP (minimal-pair accuracy)"}
    expected = [name for name in params_of_the_study(params) if params.claims[name].at == 1]
    assert [*dict.fromkeys(measured["claim"])] == expected and "verdict" not in measured
    row = measured.query("claim == 'weak-helps' and measure.str.startswith('GLUE')").iloc[0]
    assert (row["mean"], row["n"]) == (pytest.approx(0.05), 3)


def test_committed_claims_are_those_of_the_committed_tables():
    for scale in ("laptop", "wiki-mini"):
        params = load_params(ROOT / "params.yaml").model_copy(update={"scale": scale})
        committed = pd.read_csv(params.path("results", "summary", "claims.csv"))
        measured = claims(params)
        assert committed["claim"].to_list() == measured["claim"].to_list()
        assert committed["verdict"].to_list() == measured["verdict"].to_list()
        assert committed["mean"].to_numpy() == pytest.approx(measured["mean"].to_numpy(), rel=1e-5)
