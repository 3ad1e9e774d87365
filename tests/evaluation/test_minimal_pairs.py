"""dwt/evaluation/minimal_pairs.py: one error per pair, balanced words, no training text."""

from collections import Counter
from types import SimpleNamespace

import pandas as pd
import pytest

from dwt.evaluation.minimal_pairs import PAIR_KINDS, draw_pairs, minimal_pairs, short_sentences


def test_good_sentences_are_real_and_not_from_training_text(farm):
    heldout = farm.heldout()
    unseen = set(heldout.text[heldout.unseen])
    for kind, pairs in minimal_pairs(farm).items():
        assert pairs, kind
        assert {good for good, _ in pairs} <= unseen
        assert len({good for good, _ in pairs}) == len(pairs)


def test_a_bad_sentence_differs_in_one_place(farm):
    for kind, pairs in minimal_pairs(farm).items():
        for good, bad in pairs:
            good, bad = good.rstrip(".").split(), bad.rstrip(".").split()
            places = [i for i, (a, b) in enumerate(zip(good, bad, strict=True)) if a != b]
            if kind == "word-swap":
                assert len(places) == 2 and places[1] == places[0] + 1
                assert Counter(good) == Counter(bad)
            else:
                assert len(places) == 1


def test_every_word_is_as_frequent_in_bad_sentences_as_in_good_ones(farm):
    for pairs in minimal_pairs(farm).values():
        good, bad = (
            Counter(w for sentence in part for w in sentence.rstrip(".").lower().split())
            for part in zip(*pairs, strict=True)
        )
        assert good == bad


def test_agreement_changes_number_only(farm):
    for good, bad in minimal_pairs(farm, kinds=["agreement"])["agreement"]:
        changed = {(a, b) for a, b in zip(good.split(), bad.split(), strict=True) if a != b}
        assert changed <= {("are", "is"), ("is", "are"), ("was", "were"), ("this", "these")}


def test_pairs_depend_on_the_seed_and_on_nothing_else(farm):
    assert minimal_pairs(farm, pairs=10, seed=1) == minimal_pairs(farm, pairs=10, seed=1)
    assert minimal_pairs(farm, pairs=10, seed=1) != minimal_pairs(farm, pairs=10, seed=2)
    both = minimal_pairs(farm, pairs=10)
    alone = minimal_pairs(farm, pairs=10, kinds=["agreement"])
    assert both["agreement"] == alone["agreement"]
    assert minimal_pairs(farm, pairs=20)["word-swap"][:10] == both["word-swap"]


def test_pairs_is_the_limit_of_each_kind(farm):
    assert {len(pairs) for pairs in minimal_pairs(farm, pairs=6).values()} == {6}


@pytest.mark.parametrize(
    "paragraph",
    [
        "Too short a sentence.",
        "A sentence that is long enough but does not end with a full stop",
        "A sentence with n_samples and other names of variables in it.",
        "A sentence with the number 42 in the middle of it.",
        "the sentence does not begin with a capital letter at all.",
        "A sentence whose reference was cut off, as explained in.",
        "The sentence seems to end here at the professor of St.",
    ],
)
def test_sentences_that_are_not_plain_are_left_out(paragraph):
    table = pd.DataFrame({"document": [0], "text": [paragraph], "unseen": [True]})
    assert short_sentences(table).empty


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("Some data are missing from many large tables.", "agreement"),  # so is "data is"
        ("Only tables that this should never change remain.", "agreement"),  # these should
        ("Act as if tables were large and very heavy.", "agreement"),  # as if it was
        ("Only heavy large green old doors open.", "word-swap"),  # any order of adjectives
        ("Doors that only open inwards, not outwards, also exist.", "function-word"),
    ],
)
def test_places_where_both_forms_are_right_make_no_pair(text, kind):
    table = pd.DataFrame({"document": [0], "text": [text], "unseen": [True]})
    assert len(short_sentences(table)) == 1
    assert draw_pairs([text], kind, 1, 0) == []


@pytest.mark.parametrize("kind", PAIR_KINDS)
def test_too_little_text_is_refused_with_what_to_change(kind):
    table = pd.DataFrame({"document": [0], "text": ["Doors open inwards."], "unseen": [True]})
    with pytest.raises(ValueError, match=rf"'{kind}'.*corpus\.heldout"):
        minimal_pairs(SimpleNamespace(heldout=lambda: table), kinds=[kind])
