"""What would a teacher say that has only counted words, or not even that?

Two controls: if such a teacher helps as much as a model does, the gain is no knowledge of language.
"""

from types import SimpleNamespace

import numpy as np
import torch
from torch import nn


class CountedTeacher(nn.Module):
    """A teacher that says the same at every place.

    Its hidden state is 1 everywhere and its output layer holds log-probabilities, so that it is
    read as every other teacher is (`dwt.training.models.hidden_at`), at next to no cost.

    Parameters
    ----------
    kind : {"unigram", "uniform"}
        Token frequencies of the training text, one added to every count; or all tokens alike.
        The soft loss of a uniform teacher is label smoothing: with a_h = 1 it is, up to a
        constant and the scale 1 + a_s, the cross-entropy with ``(1 - e)`` on the true token and
        ``e = a_s / (1 + a_s)`` spread over all (Szegedy et al. 2016, section 7).
    tokens : array of int, [T]
        The training text.
    vocabulary : dwt.training.batches.Vocabulary
        Special tokens, which are never masked, count as if they did not occur.
    """

    def __init__(self, kind, tokens, vocabulary):
        super().__init__()
        counts = np.ones(vocabulary.size)
        if kind == "unigram":
            counts += np.bincount(tokens, minlength=vocabulary.size)
            counts[list(vocabulary.special)] = 1
        logits = np.log(counts / counts.sum())
        self.output = nn.Linear(1, vocabulary.size, bias=False)
        self.output.weight = nn.Parameter(torch.tensor(logits, dtype=torch.float32)[:, None])
        self.config = SimpleNamespace(
            model_type="counted", hidden_size=1, num_hidden_layers=0, intermediate_size=0,
            vocab_size=vocabulary.size,
        )  # fmt: skip
        self.eval().requires_grad_(False)

    def encoder(self, input_ids, attention_mask=None):
        """1 at every position, `[B, L, 1]`."""
        ones = torch.ones(*input_ids.shape, 1, device=input_ids.device)
        return SimpleNamespace(last_hidden_state=ones)
