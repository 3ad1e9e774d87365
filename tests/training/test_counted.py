import numpy as np
import pytest
import torch
import torch.nn.functional as F

from dwt.training.counted import CountedTeacher
from dwt.training.loss import dwt_loss, linear_dwt_loss
from dwt.training.models import forward_flops, hidden_at, logits_at, output_layer

IDS = torch.randint(5, 100, (3, 8), generator=torch.Generator().manual_seed(0))
POSITIONS = torch.tensor([[1, 4], [2, 3], [0, 7]])


def test_a_unigram_teacher_says_the_frequencies_of_the_text_at_every_place(stream, vocabulary):
    teacher = CountedTeacher("unigram", stream, vocabulary)
    said = logits_at(teacher, IDS, POSITIONS).softmax(-1)  # [6, 100]
    ordinary = np.setdiff1d(np.arange(100), vocabulary.special)
    counts = np.array([(stream == token).sum() for token in ordinary]) + 1
    expected = counts / (counts.sum() + len(vocabulary.special))
    assert (stream == vocabulary.sep).sum() > 100  # which is never masked, and so never said
    np.testing.assert_allclose(said[:, ordinary], np.tile(expected, (6, 1)), rtol=1e-5)


def test_a_uniform_teacher_says_all_tokens_alike(stream, vocabulary):
    said = logits_at(CountedTeacher("uniform", stream, vocabulary), IDS, POSITIONS).softmax(-1)
    torch.testing.assert_close(said, torch.full((6, 100), 0.01))


@pytest.mark.parametrize("soft_weight", [0.111, 1.0])
def test_the_soft_loss_of_a_uniform_teacher_is_label_smoothing(stream, vocabulary, soft_weight):
    """Compared with torch's own, in the gradient, where the two do not differ by a constant."""
    teacher = CountedTeacher("uniform", stream, vocabulary)
    logits = torch.randn(6, 100, dtype=torch.float64, requires_grad=True)
    targets = torch.arange(6)
    told = logits_at(teacher, IDS, POSITIONS).double()
    ours = dwt_loss(logits, told, targets, soft_weight=soft_weight).total
    share = soft_weight / (1 + soft_weight)
    theirs = (1 + soft_weight) * F.cross_entropy(logits, targets, label_smoothing=share)
    grads = [torch.autograd.grad(loss, logits)[0] for loss in (ours, theirs)]
    torch.testing.assert_close(*grads, rtol=1e-6, atol=1e-9)


def test_it_teaches_through_the_fused_loss_as_a_model_does(stream, vocabulary, model):
    teacher = CountedTeacher("unigram", stream, vocabulary)
    hidden, head = torch.randn(6, 16), torch.nn.Linear(16, 100)
    taught, targets = hidden_at(teacher, IDS, POSITIONS), torch.arange(6)
    fused = linear_dwt_loss(hidden, head, taught, output_layer(teacher), targets)
    plain = dwt_loss(head(hidden), logits_at(teacher, IDS, POSITIONS), targets)
    torch.testing.assert_close(fused.soft, plain.soft)


def test_it_costs_next_to_nothing_and_has_nothing_to_learn(stream, vocabulary):
    teacher = CountedTeacher("unigram", stream, vocabulary)
    assert not any(p.requires_grad for p in teacher.parameters())
    assert forward_flops(teacher.config, batch=1, length=8, masked=2) == 2 * 2 * (1 + 100)
