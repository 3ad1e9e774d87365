import pytest
import torch
from conftest import changed

from dwt.config.params import resolve
from dwt.data.corpus import load_corpus
from dwt.training.batches import batch_at
from dwt.training.loss import linear_dwt_loss
from dwt.training.models import build_model, hidden_at, output_layer
from dwt.training.step import Distiller, batch_to_device


def first_batch(run, corpus):
    settings = {key: run.train[key] for key in ("batch", "length", "mask_rate")}
    batch = batch_at(corpus.tokens("train"), corpus.vocabulary, seed=0, step=0, **settings)
    return batch_to_device(batch, "cpu")


@pytest.mark.parametrize("which", ["student", "teacher"])
def test_the_vocabulary_is_multiplied_in_bfloat16_even_after_a_float32_layer_norm(study, which):
    run = changed(resolve("normal", 0, study), precision="bf16")
    corpus = load_corpus(study.path("data"))
    model = build_model(
        run.model, layers=4, vocabulary=corpus.vocabulary, max_length=run.train["length"]
    )  # fmt: skip
    distiller = Distiller(model, model, train=run.train, device=torch.device("cpu"))
    distiller._hidden[which] = lambda *given: hidden_at(*given).float()  # as CUDA's autocast does
    assert distiller._read(which, first_batch(run, corpus)).dtype == torch.bfloat16


def test_casting_the_teachers_output_layer_once_changes_neither_the_teacher_nor_the_loss(study):
    run = changed(resolve("normal", 0, study), precision="bf16")
    corpus = load_corpus(study.path("data"))
    shape = dict(vocabulary=corpus.vocabulary, max_length=run.train["length"])
    student, teacher = (build_model(run.model, layers=n, **shape).eval() for n in (4, 2))
    distiller = Distiller(student, teacher, train=run.train, device=torch.device("cpu"))
    assert {p.dtype for p in teacher.parameters()} == {torch.float32}
    batch = first_batch(run, corpus)
    teacher_hidden, hidden = distiller.teacher_hidden(batch), distiller._read("student", batch)
    expected = linear_dwt_loss(
        hidden, output_layer(student), teacher_hidden, output_layer(teacher),
        batch.targets.flatten(),
    )  # fmt: skip
    batch = batch._replace(teacher_hidden=teacher_hidden)
    assert distiller._forward(batch, {}, values=True, measure=False) == expected
