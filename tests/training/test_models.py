from typing import get_args

import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from torch.utils.flop_counter import FlopCounterMode
from transformers import PreTrainedTokenizerFast

from dwt.config.scale import Shape
from dwt.data.vocabulary import SPECIAL_TOKENS, Vocabulary
from dwt.training.families import FAMILIES
from dwt.training.models import (
    build_model,
    forward_flops,
    hidden_at,
    load_model,
    logits_at,
    output_layer,
)

SHAPE = {"width": 16, "heads": 2, "intermediate": 24}


def make(family, vocabulary, *, layers=2, seed=0, width=16):
    shape = {**SHAPE, "family": family, "width": width}
    return build_model(shape, layers=layers, vocabulary=vocabulary, max_length=32, seed=seed).eval()


@pytest.mark.parametrize("family", FAMILIES)
def test_logits_at_masked_positions_equal_the_full_forward_pass_gathered_there(family, vocabulary):
    model = make(family, vocabulary)
    ids = torch.randint(5, 100, (3, 32))
    positions = torch.stack([torch.randperm(32)[:7].sort().values for _ in range(3)])
    with torch.no_grad():
        full = model(input_ids=ids).logits
        wanted = full.gather(1, positions[..., None].expand(-1, -1, 100)).flatten(0, 1)
        actual = logits_at(model, ids, positions)
    assert actual.shape == (21, 100)
    torch.testing.assert_close(actual, wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("family", FAMILIES)
def test_padding_does_not_change_the_logits(family, vocabulary):
    model = make(family, vocabulary)
    ids = torch.randint(5, 100, (1, 20))
    padded = torch.cat([ids, torch.zeros(1, 9, dtype=torch.long)], dim=1)
    real = (torch.arange(29) < 20).long()[None]
    with torch.no_grad():
        wanted = logits_at(model, ids, torch.tensor([[4]]))
        actual = logits_at(model, padded, torch.tensor([[4]]), real)
    torch.testing.assert_close(actual, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_gradients_reach_every_parameter(family, vocabulary):
    model = make(family, vocabulary)
    logits_at(model, torch.randint(5, 100, (2, 32)), torch.tensor([[1, 2]] * 2)).sum().backward()
    without = {n for n, p in model.named_parameters() if p.grad is None}
    assert without == set()


@pytest.mark.parametrize("family", FAMILIES)
def test_a_saved_model_loads_with_the_same_logits(family, vocabulary, tmp_path):
    model = make(family, vocabulary)
    model.save_pretrained(tmp_path)
    ids, positions = torch.randint(5, 100, (2, 32)), torch.tensor([[3, 9]] * 2)
    with torch.no_grad():
        again = logits_at(load_model(tmp_path).eval(), ids, positions)
        assert torch.equal(again, logits_at(model, ids, positions))


@pytest.mark.parametrize("family", FAMILIES)
def test_seed_alone_decides_the_weights(family, vocabulary):
    torch.manual_seed(123)
    first = make(family, vocabulary).state_dict()
    torch.manual_seed(456)
    assert all(torch.equal(first[n], t) for n, t in make(family, vocabulary).state_dict().items())
    other = output_layer(make(family, vocabulary, seed=1)).weight
    assert not torch.equal(output_layer(make(family, vocabulary)).weight, other)


@pytest.mark.parametrize("family", FAMILIES)
def test_flops_equal_torchs_own_count_forward_and_thrice_with_the_backward_pass(family, vocabulary):
    model = make(family, vocabulary, layers=3)
    # The fused attention kernel of the CPU is not in torch's table; the plain one is.
    model.set_attn_implementation("eager")
    ids, positions = torch.randint(5, 100, (2, 32)), torch.arange(1, 8).expand(2, -1)
    counted = forward_flops(model.config, batch=2, length=32, masked=7)
    # Rotary angles are a product of positions and frequencies: 2 x 32 x 4, once per layer kind.
    slack = 2 * 32 * 4 * 2 if family == "modernbert" else 0
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        hidden = hidden_at(model, ids, positions)
        output_layer(model)(hidden)
    assert counted <= counter.get_total_flops() <= counted + slack
    with FlopCounterMode(display=False) as counter:
        logits_at(model, ids, positions).sum().backward()
    assert 3 * counted <= counter.get_total_flops() <= 3 * counted + slack


def test_a_tokenizer_is_as_good_as_its_vocabulary(tokenizer):
    ids = tuple(tokenizer.convert_tokens_to_ids(SPECIAL_TOKENS))
    own = Vocabulary(len(tokenizer), ids[2], ids[3], ids[4], ids)
    first, second = (make("modernbert", given) for given in (tokenizer, own))
    assert first.config.to_dict() == second.config.to_dict()
    assert first.config.pad_token_id == tokenizer.pad_token_id
    assert first.config.vocab_size == len(tokenizer)


def test_a_tokenizer_without_bert_s_special_tokens_is_refused():
    bare = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(WordLevel({"[UNK]": 0, "a": 1})))
    with pytest.raises(ValueError, match=r"lacks \[PAD\], \[CLS\], \[SEP\], \[MASK\]; it must"):
        make("bert", bare)


def test_an_unknown_family_is_refused_with_the_known_ones(vocabulary):
    with pytest.raises(ValueError, match="choose one of modernbert, distilbert, bert"):
        make("gpt2", vocabulary)


@pytest.mark.parametrize("family", FAMILIES)
def test_positions_size_the_table_apart_from_the_sequence_length(family, vocabulary):
    shape = {**SHAPE, "family": family}
    for positions, rows in ((None, 32), (48, 48)):
        model = build_model(
            shape | {"positions": positions}, layers=1, vocabulary=vocabulary, max_length=32
        )
        assert model.config.max_position_embeddings == rows


def test_params_allow_the_families_that_there_are():
    assert {*get_args(Shape.model_fields["family"].annotation)} == {*FAMILIES}
