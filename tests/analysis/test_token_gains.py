"""Bands of token frequency."""

import numpy as np

from dwt.analysis.token_gains import EDGES, band_names, bands_of
from dwt.data.vocabulary import Vocabulary


def test_tokens_are_in_bands_by_their_rank_and_special_ones_in_the_last(vocabulary):
    size, special = 2000, vocabulary.special
    ordinary = [token for token in range(size) if token not in special]
    tokens = np.repeat(ordinary, np.arange(len(ordinary), 0, -1))  # the first is most frequent
    everywhere = np.concatenate([tokens, np.repeat(special, 5000)])
    larger = Vocabulary(size=size, cls=2, sep=3, mask=4, special=special)
    bands = bands_of(everywhere, larger)
    assert [int((bands == band).sum()) for band in range(5)] == [16, 48, 192, 768, 976]
    assert bands[ordinary[0]] == 0 and bands[ordinary[16]] == 1 and {*bands[list(special)]} == {4}


def test_bands_are_named_by_their_first_and_last_rank():
    assert band_names(2048) == ["1-16", "17-64", "65-256", "257-1024", "1025-2048"]
    assert len(EDGES) + 1 == len(band_names(2048))
