import pytest
import torch
from test_models import make

from dwt.training.families import FAMILIES
from dwt.training.remapping import remap


def layers_of(model):
    """Encoder blocks, whatever the family calls them."""
    base = model.base_model
    blocks = getattr(base, "layers", None)
    if blocks is None:
        blocks = (base.transformer if hasattr(base, "transformer") else base.encoder).layer
    return [dict(block.named_parameters()) for block in blocks]


@pytest.mark.parametrize("family", FAMILIES)
def test_student_layer_i_is_teacher_layer_min_i_last(family, vocabulary):
    teacher, student = (
        make(family, vocabulary, layers=4),
        make(family, vocabulary, layers=6, seed=1),
    )
    remap(teacher, student)
    for i, block in enumerate(layers_of(student)):
        source = layers_of(teacher)[min(i, 3)]
        assert all(torch.equal(tensor, source[name]) for name, tensor in block.items())


@pytest.mark.parametrize("family", FAMILIES)
def test_a_student_of_the_teachers_depth_computes_the_same(family, vocabulary):
    teacher, student = make(family, vocabulary), make(family, vocabulary, seed=1)
    ids = torch.randint(5, 100, (2, 32))
    with torch.no_grad():
        assert not torch.equal(teacher(input_ids=ids).logits, student(input_ids=ids).logits)
        remap(teacher, student)
        assert torch.equal(teacher(input_ids=ids).logits, student(input_ids=ids).logits)


@pytest.mark.parametrize("family", FAMILIES)
def test_everything_outside_the_layers_is_copied_as_it_is(family, vocabulary):
    teacher, student = make(family, vocabulary), make(family, vocabulary, layers=3, seed=1)
    copied = remap(teacher, student)
    assert copied.keys() == student.state_dict().keys()
    outside = {n for n, origin in copied.items() if n == origin and ".layer" not in n}
    assert any("emb" in n for n in outside)
    assert all(torch.equal(student.state_dict()[n], teacher.state_dict()[n]) for n in outside)


@pytest.mark.parametrize("family", FAMILIES)
def test_embedding_and_output_layer_stay_tied(family, vocabulary):
    teacher, student = make(family, vocabulary), make(family, vocabulary, layers=3, seed=1)
    remap(teacher, student)
    assert student.get_input_embeddings().weight is student.get_output_embeddings().weight


def test_the_report_names_each_source_and_what_has_none(vocabulary):
    teacher, student = make("modernbert", vocabulary, layers=1), make("modernbert", vocabulary)
    before = student.model.layers[1].attn_norm.weight.clone()
    copied = remap(teacher, student)
    assert copied["model.layers.1.mlp.Wi.weight"] == "model.layers.0.mlp.Wi.weight"
    # ModernBERT's first layer has no attention norm to copy.
    assert copied["model.layers.1.attn_norm.weight"] is None
    assert torch.equal(student.model.layers[1].attn_norm.weight, before)


def test_the_teacher_is_left_as_it_was(vocabulary):
    teacher, student = make("bert", vocabulary), make("bert", vocabulary, layers=4, seed=1)
    before = {n: t.clone() for n, t in teacher.state_dict().items()}
    remap(teacher, student)
    with torch.no_grad():
        for tensor in student.parameters():
            tensor.add_(1)
    assert all(torch.equal(t, before[n]) for n, t in teacher.state_dict().items())


def test_a_smaller_student_is_refused(vocabulary):
    with pytest.raises(ValueError, match=r"student \(2 layers\) is smaller.*teacher \(3 layers\)"):
        remap(make("bert", vocabulary, layers=3), make("bert", vocabulary))


def test_another_width_is_refused_and_leaves_the_student_as_it_was(vocabulary):
    teacher, student = make("bert", vocabulary), make("bert", vocabulary, width=32)
    before = {n: t.clone() for n, t in student.state_dict().items()}
    with pytest.raises(ValueError, match="one width and one vocabulary"):
        remap(teacher, student)
    assert all(torch.equal(t, before[n]) for n, t in student.state_dict().items())


def test_another_family_or_operator_is_refused(vocabulary):
    with pytest.raises(ValueError, match="one family"):
        remap(make("bert", vocabulary), make("distilbert", vocabulary))
    with pytest.raises(ValueError, match="choose repeat-last"):
        remap(make("bert", vocabulary), make("bert", vocabulary), depth="sideways")
