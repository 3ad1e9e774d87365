import json
import shutil

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from dwt.config.params import load_params, resolve
from dwt.config.schema import CONTEXT_FREE
from dwt.data.corpus import load_corpus
from dwt.training.loss import dwt_loss, linear_dwt_loss
from dwt.training.models import forward_flops, hidden_at, logits_at, output_layer
from dwt.training.teachers import ContextFreeTeacher, TeacherError, load_teacher
from dwt.training.train import pretrain

IDS = torch.randint(5, 100, (3, 8), generator=torch.Generator().manual_seed(0))
POSITIONS = torch.tensor([[1, 4], [2, 3], [0, 7]])


def test_a_unigram_teacher_predicts_token_frequencies_at_every_position(stream, vocabulary):
    teacher = ContextFreeTeacher("unigram", stream, vocabulary)
    predicted = logits_at(teacher, IDS, POSITIONS).softmax(-1)  # [6, 100]
    ordinary = np.setdiff1d(np.arange(100), vocabulary.special)
    counts = np.array([(stream == token).sum() for token in ordinary]) + 1
    expected = counts / (counts.sum() + len(vocabulary.special))
    assert (stream == vocabulary.sep).sum() > 100  # which is never masked
    np.testing.assert_allclose(predicted[:, ordinary], np.tile(expected, (6, 1)), rtol=1e-5)


def test_a_uniform_teacher_predicts_all_tokens_alike(stream, vocabulary):
    predicted = logits_at(
        ContextFreeTeacher("uniform", stream, vocabulary), IDS, POSITIONS
    ).softmax(-1)
    torch.testing.assert_close(predicted, torch.full((6, 100), 0.01))


@pytest.mark.parametrize("soft_weight", [0.111, 1.0])
def test_the_soft_loss_of_a_uniform_teacher_is_label_smoothing(stream, vocabulary, soft_weight):
    """Compared with torch's own, in the gradient, where the two do not differ by a constant."""
    teacher = ContextFreeTeacher("uniform", stream, vocabulary)
    logits = torch.randn(6, 100, dtype=torch.float64, requires_grad=True)
    targets = torch.arange(6)
    given = logits_at(teacher, IDS, POSITIONS).double()
    ours = dwt_loss(logits, given, targets, soft_weight=soft_weight).total
    share = soft_weight / (1 + soft_weight)
    theirs = (1 + soft_weight) * F.cross_entropy(logits, targets, label_smoothing=share)
    grads = [torch.autograd.grad(loss, logits)[0] for loss in (ours, theirs)]
    torch.testing.assert_close(*grads, rtol=1e-6, atol=1e-9)


def test_the_fused_loss_reads_a_context_free_teacher_as_it_reads_a_model(stream, vocabulary):
    teacher = ContextFreeTeacher("unigram", stream, vocabulary)
    hidden, head = torch.randn(6, 16), torch.nn.Linear(16, 100)
    states, targets = hidden_at(teacher, IDS, POSITIONS), torch.arange(6)
    fused = linear_dwt_loss(hidden, head, states, output_layer(teacher), targets)
    plain = dwt_loss(head(hidden), logits_at(teacher, IDS, POSITIONS), targets)
    torch.testing.assert_close(fused.soft, plain.soft)


def test_a_context_free_teacher_has_no_gradient_and_costs_its_output_layer_only(stream, vocabulary):
    teacher = ContextFreeTeacher("unigram", stream, vocabulary)
    assert not any(p.requires_grad for p in teacher.parameters())
    assert forward_flops(teacher.config, batch=1, length=8, masked=2) == 2 * 2 * (1 + 100)


def test_every_context_free_teacher_of_params_can_be_loaded(study):
    corpus = load_corpus(study.path("data"))
    arms = {study.all_arms[arm].teacher: arm for arm in study.all_arms}
    for name in CONTEXT_FREE:
        teacher = load_teacher(resolve(arms[name], 0, study), corpus)
        assert output_layer(teacher).weight.shape == (corpus.vocabulary.size, 1)


def test_an_untrained_teacher_is_refused_with_the_command_that_trains_it(study):
    with pytest.raises(
        TeacherError, match=r"arms\.very-weak\.teacher.*-r arm very-weak-teacher -p seed 0"
    ):
        pretrain(resolve("very-weak", 0, study))


def test_a_teacher_with_another_vocabulary_is_refused(study, tmp_path):
    root = tmp_path / "other"
    shutil.copytree(study.root, root)
    params = load_params(root / "params.yaml")
    run = resolve("normal", 0, params)
    file = run.teacher_directory / "tokenizer.json"
    tokenizer = json.loads(file.read_text())
    tokenizer["model"]["vocab"].popitem()
    file.write_text(json.dumps(tokenizer))
    with pytest.raises(TeacherError, match=r"arms\.normal\.teacher.*another vocabulary"):
        pretrain(run)
