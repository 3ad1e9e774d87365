"""The families of masked language models: transformers' classes, and what sets each apart.

A further one is an entry of `FAMILIES`, its name in `dwt.config.scale.Shape` and its bytes in
`dwt.pipeline.cost_model`. Decoders would need other targets (`batches`), too.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from transformers import (
    BertConfig,
    BertForMaskedLM,
    DistilBertConfig,
    DistilBertForMaskedLM,
    ModernBertConfig,
    ModernBertForMaskedLM,
    PreTrainedConfig,
    PreTrainedModel,
)

from dwt.data.vocabulary import Vocabulary


@dataclass(frozen=True)
class Family:
    """What sets one family of models apart."""

    config: type[PreTrainedConfig]
    model: type[PreTrainedModel]
    # (shape, layers, vocabulary) -> arguments of `config` that not all families share
    arguments: Callable[[Mapping[str, Any], int, Vocabulary], dict[str, Any]]
    # model -> hidden states [N, D] -> input of the output layer, [N, D]
    head: Callable[[Any], Callable[[Tensor], Tensor]]
    layers: str  # name of the list of encoder layers in the state dict
    feed_forward: Callable[[Any], int]  # config -> inner width x number of matrices of that block


def _modernbert(shape, layers, vocabulary):
    dropouts = ("embedding_dropout", "mlp_dropout", "attention_dropout")
    return dict(
        intermediate_size=shape["intermediate"],
        # Every layer global: local windows are for long texts, and layers that are all alike can
        # be copied to any depth.
        layer_types=["full_attention"] * layers,
        # The base of rotary positions for short texts; the class's own is for 8,192 tokens.
        rope_parameters={
            kind: {"rope_type": "default", "rope_theta": 10_000.0}
            for kind in ("full_attention", "sliding_attention")
        },
        bos_token_id=vocabulary.cls, cls_token_id=vocabulary.cls,
        eos_token_id=vocabulary.sep, sep_token_id=vocabulary.sep,
        **dict.fromkeys(dropouts, shape["dropout"]),
    )  # fmt: skip


def _distilbert(shape, layers, vocabulary):
    dropout = shape["dropout"]
    return dict(hidden_dim=shape["intermediate"], dropout=dropout, attention_dropout=dropout)


def _bert(shape, layers, vocabulary):
    dropouts = ("hidden_dropout_prob", "attention_probs_dropout_prob")
    own = dict.fromkeys(dropouts, shape["dropout"])
    return dict(intermediate_size=shape["intermediate"], **own)


def _distilbert_head(model):
    return lambda hidden: model.vocab_layer_norm(model.activation(model.vocab_transform(hidden)))


FAMILIES = {
    "modernbert": Family(
        ModernBertConfig, ModernBertForMaskedLM, _modernbert,
        head=lambda model: model.head,
        layers="model.layers",
        feed_forward=lambda config: 3 * config.intermediate_size,  # gated: two in, one out
    ),
    "distilbert": Family(
        DistilBertConfig, DistilBertForMaskedLM, _distilbert,
        head=_distilbert_head,
        layers="distilbert.transformer.layer",
        feed_forward=lambda config: 2 * config.hidden_dim,
    ),
    "bert": Family(
        BertConfig, BertForMaskedLM, _bert,
        head=lambda model: model.cls.predictions.transform,
        layers="bert.encoder.layer",
        feed_forward=lambda config: 2 * config.intermediate_size,
    ),
}  # fmt: skip


def family_of(name: str) -> Family:
    """The family of a name, as in `model.config.model_type`; ValueError if it is unknown."""
    if name not in FAMILIES:
        raise ValueError(f"unknown family '{name}'; choose one of {', '.join(FAMILIES)}")
    return FAMILIES[name]
