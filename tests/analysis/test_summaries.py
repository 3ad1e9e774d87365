"""Answers: computed from the tables, right whichever way the numbers fall, complete."""

import re

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT
from made_up import study, write_tables
from test_plots import tokens

from dwt.analysis import wording
from dwt.analysis.answers import four_answers
from dwt.analysis.claims import as_markdown, claims, claims_by_scale
from dwt.analysis.comparisons import differences
from dwt.analysis.stats import paired
from dwt.analysis.summaries import (
    FACTORS,
    describe,
    describe_size,
    describe_study,
    gains_by_side,
    is_run,
    save_answer,
)
from dwt.analysis.tables import save, tokens_file
from dwt.analysis.teacher_gap import gap_line, gap_points
from dwt.config.params import load_params


@pytest.fixture(scope="module")
def params(tmp_path_factory):
    made = study(tmp_path_factory.mktemp("study"))
    save(tokens(), tokens_file(made))
    return made


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """The study without the extended grid."""
    return study(tmp_path_factory.mktemp("small"), grids=["study"])


ANALYSES = [*load_params(ROOT / "params.yaml").analyses]


@pytest.mark.parametrize("analysis", ANALYSES)
def test_every_analysis_of_params_yaml_has_an_answer_with_numbers(params, analysis):
    answer = describe(params, analysis)
    assert re.search(r"[+−]\d\.\d{3}", answer) and "nan" not in answer
    assert "95 % intervals" in answer and is_run(params, analysis)


def test_where_runs_are_missing_the_answer_names_them(small):
    ran = {name for name in ANALYSES if is_run(small, name)}
    assert ran == {"teacher-quality", "loss-weight", "parameter-remapping"}
    assert describe(small, "controls").startswith(
        "Not run at scale laptop: `label-smoothing`, `unigram-teacher`, "
    )
    assert "tables/tokens.csv" in describe(small, "token-gains")


def test_the_study_in_one_sentence_per_factor_with_all_claims(params, small):
    text = describe_study(params)
    assert len(re.findall("^- ", text, re.MULTILINE)) == 4 and "nan" not in text
    assert f"- {len(params.claims)} claims: " in text and "not run" not in text
    assert f"- 11 claims: {wording.count_verdicts(claims(small))}" in describe_study(small)
    assert describe_study(small).endswith(f"{len(small.claims) - 11} more were not run.\n")


def test_one_seed_has_no_intervals_in_any_answer(tmp_path):
    params = load_params(ROOT / "params.yaml").model_copy(update={"root": tmp_path, "seeds": [1]})
    params = params.model_copy(
        update={"extended": params.extended.model_copy(update={"seeds": []})}
    )
    write_tables(params)
    save(tokens().query("seed == 1"), tokens_file(params))
    judged = claims(params)
    texts = [describe(params, name) for name in ANALYSES] + [describe_study(params)]
    texts.append(four_answers(params))
    assert not any("% interval" in text for text in texts)
    texts += [describe_size(params), wording.claims_table(judged)]
    texts.append(as_markdown(claims_by_scale({"one": params})))
    for name in FACTORS:
        measured = differences(params, name)
        texts.append(wording.describe_losses(measured, "out-of-domain loss"))
        texts.append(wording.describe_equal_flops(measured, params.analyses[name]))
    assert {*judged["n"]} == {1}
    for text in texts:
        assert "nan" not in text and " [" not in text and "1 seeds" not in text, text


def test_an_arm_of_a_factor_that_was_not_run_is_named_and_left_out_of_its_table(small):
    arms = small.analyses["loss-weight"]
    analyses = small.analyses | {"loss-weight": [*arms, "4-to-0"]}
    params = small.model_copy(update={"analyses": analyses})
    missing = " Not trained yet with these settings: `4-to-0` (seeds 0, 1, 2"
    assert missing in describe(params, "loss-weight")
    assert missing in describe_study(params)
    measured = differences(params, "loss-weight")
    assert {*measured["arm"]} == {*arms[1:]} and len(measured) == len(
        differences(small, "loss-weight")
    )


def test_an_answer_is_written_into_the_folder_of_its_analysis(small):
    assert save_answer(small, "controls", "text\n") == "text\n"
    assert small.path("results", "controls", "answer.md").read_text() == "text\n"


def test_the_answer_to_factor_one_has_the_gap_and_gains_of_the_made_up_study(params):
    answer = describe(params, "teacher-quality")
    assert answer.startswith("Teachers help up to a gap of 0.40 nats (95 % interval 0.")
    assert re.search(r"`extremely-weak` \(gap 0\.70\) gains −0\.15\d", answer)


def test_the_gap_sentence_turns_with_the_slope(tmp_path):
    mirrored = study(tmp_path, grids=["study"], sign=-1)
    assert describe(mirrored, "teacher-quality").startswith("Teachers help from a gap of 0.40")


def test_a_start_with_too_few_arms_for_a_line_has_no_slope(params):
    analyses = params.analyses | {"gap": ["normal-2x"]}
    answer = describe(params.model_copy(update={"analyses": analyses}), "gap")
    random, copied = answer.splitlines()[:2]
    assert "slope" in random and copied.startswith("- from copied weights: ")
    assert "slope" not in copied and "0 of 1 arms gain" in copied


def test_where_every_gap_tried_is_too_large_no_gap_is_named_at_which_teachers_help(params):
    points = gap_points(params)
    points = points[points["start"] == "random"].assign(gain=lambda rows: -0.1 - rows["gap"])
    finding, bounds = wording.describe_gap(gap_line(points), points)
    gaps = r"−?\d\.\d\d to \d\.\d\d nats"
    assert re.fullmatch(rf"Teachers help at none of the gaps tried, {gaps}", finding)
    assert bounds == ""


def test_gains_where_a_teacher_is_right_and_wrong_are_weighted_by_tokens():
    measured = gains_by_side(tokens())
    assert measured[True][0].mean == pytest.approx(0.391) and measured[True][1] == 0.25
    assert measured[False][0].mean == pytest.approx(-0.11) and measured[False][1] == 0.75


@pytest.mark.parametrize(
    ("gain", "word"), [([0.2, 0.21], "ahead"), ([-0.2, -0.21], "behind"), ([-0.2, 0.21], "open")]
)
def test_words_follow_the_interval_not_the_mean(gain, word):
    assert wording.direction(paired(gain), ("ahead", "behind", "open")) == word


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        ([100.0, 200.0, np.nan], "last cross at step 150 (100 to 200), in 2 of 3 seeds"),
        ([np.nan, np.nan], "do not cross"),
    ],
)
def test_crossings_are_given_with_their_spread(steps, said):
    assert wording.describe_crossing(steps) == f"and their curves {said}"


def test_losses_are_told_as_gains_and_scores_as_they_are():
    row = dict(against="scratch", arm="normal", mean=-0.2, low=-0.3, high=-0.1)
    measured = pd.DataFrame([row | {"measure": m} for m in ("held-out loss", "BLiMP (accuracy)")])
    said = wording.describe_losses(measured, "held-out loss")
    assert said.endswith("`normal` better (+0.200 [+0.100, +0.300]).")
    assert wording.describe_scores(measured).endswith("`normal` worse (−0.200 [−0.300, −0.100]).")


def test_arms_without_a_rival_of_equal_cost_are_named(params, small):
    arms = params.analyses["teacher-quality"]
    text = wording.describe_equal_flops(differences(small, "teacher-quality"), arms)
    assert text.count("no run without a teacher at this scale costs as much as `normal`") == 2
    assert "`extremely-weak` worse" in wording.describe_equal_flops(
        differences(params, "teacher-quality"), arms
    )


def test_the_table_of_claims_has_gains(params):
    head, _, *rows = wording.claims_table(claims(params)).splitlines()
    assert len(rows) == len(params.claims)
    assert rows[0].startswith("| A weak teacher helps the student | +1.44 GLUE")
    assert "| `normal` over `scratch` | +0.1" in rows[0] and rows[0].endswith("| 6 | supported |")


@pytest.mark.parametrize("scale", ["laptop", "wiki-mini"])
def test_committed_answers_are_those_of_the_committed_tables(scale):
    params = load_params(ROOT / "params.yaml").model_copy(update={"scale": scale})
    expected = {name: describe(params, name) for name in params.analyses}
    expected["summary"] = describe_study(params)
    for name, text in expected.items():
        file = params.path("results", name, "answer.md")
        assert file.read_text(encoding="utf-8") == text, file
    questions = params.path("results", "summary", "questions.md").read_text(encoding="utf-8")
    assert questions == four_answers(params)


def test_the_four_answers_are_those_of_the_made_up_study(params):
    teach, strongly, long, copy, _, note, *_ = four_answers(params).split("\n")
    assert "up to a gap of 0.40 nats" in teach and "through 3 teachers" in teach
    assert re.search(r"`normal`, whose teacher is 0\.10 behind, gains \+0\.1[45]", teach)
    assert strongly.startswith("- **How strongly?** ") and "Weight 4 is " in strongly
    assert "Of 5 soft weights that fall" in long and "at 4 times the steps" in long
    assert "with the hard loss only, copied weights gain +0.6" in copy
    assert note.endswith("95 % intervals.")


@pytest.mark.parametrize("gone", [["strong"], ["4-to-1"], ["remapped"], ["normal"]])
def test_an_answer_without_its_runs_says_so(gone, small):
    changed = {name: small.arms[name].model_copy(update={"temperature": 9.0}) for name in gone}
    text = four_answers(small.model_copy(update={"arms": small.arms | changed}))
    assert f"Not run at scale laptop: `{gone[0]}`" in text
    assert text.count("- **") == 4


def test_without_any_analysis_of_the_extended_grid_all_answers_stand(small):
    factors = {name: small.analyses[name] for name in FACTORS}
    assert four_answers(small.model_copy(update={"analyses": factors})) == four_answers(small)
