"""The families of masked language models: transformers' classes, and what sets each apart.

A further one is an entry of `FAMILIES`, its name in `dwt.config.scale.Shape` and its bytes in
`dwt.pipeline.cost_model`. Decoders would need other targets (`batches`), too.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from torch import Tensor, nn
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


class Parts(NamedTuple):
    """A masked language model in three parts."""

    encoder: Callable[..., Any]  # token ids [B, L] -> output with last_hidden_state [B, L, D]
    head: Callable[[Tensor], Tensor]  # hidden states -> input of the output layer, [N, D]
    output: nn.Linear  # weight [V, D], bias [V]


@dataclass(frozen=True)
class Family:
    """What sets one family of models apart.

    Attributes
    ----------
    config, model : type
        transformers' classes.
    arguments : callable
        (shape, layers, vocabulary) -> arguments of `config` that not all families share.
    parts : callable
        A model -> its `Parts`.
    layers : str
        Name of the list of encoder layers in the state dict.
    feed_forward : callable
        A config -> inner width of the feed-forward block times the number of its matrices.
    """

    config: type[PreTrainedConfig]
    model: type[PreTrainedModel]
    arguments: Callable[[Mapping[str, Any], int, Vocabulary], dict[str, Any]]
    parts: Callable[[Any], Parts]
    layers: str
    feed_forward: Callable[[Any], int]


def _modernbert(shape, layers, vocabulary):
    dropouts = ("embedding_dropout", "mlp_dropout", "attention_dropout")
    return dict(
        hidden_size=shape["width"], intermediate_size=shape["intermediate"],
        num_hidden_layers=layers, num_attention_heads=shape["heads"],
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
    return dict(
        dim=shape["width"], hidden_dim=shape["intermediate"], n_layers=layers,
        n_heads=shape["heads"], dropout=shape["dropout"], attention_dropout=shape["dropout"],
    )  # fmt: skip


def _bert(shape, layers, vocabulary):
    return dict(
        hidden_size=shape["width"], intermediate_size=shape["intermediate"],
        num_hidden_layers=layers, num_attention_heads=shape["heads"],
        hidden_dropout_prob=shape["dropout"], attention_probs_dropout_prob=shape["dropout"],
    )  # fmt: skip


def _distilbert_parts(model):
    def head(hidden):
        return model.vocab_layer_norm(model.activation(model.vocab_transform(hidden)))

    return Parts(model.distilbert, head, model.vocab_projector)


FAMILIES = {
    "modernbert": Family(
        ModernBertConfig, ModernBertForMaskedLM, _modernbert,
        parts=lambda model: Parts(model.model, model.head, model.decoder),
        layers="model.layers",
        feed_forward=lambda config: 3 * config.intermediate_size,  # gated: two in, one out
    ),
    "distilbert": Family(
        DistilBertConfig, DistilBertForMaskedLM, _distilbert,
        parts=_distilbert_parts,
        layers="distilbert.transformer.layer",
        feed_forward=lambda config: 2 * config.hidden_dim,
    ),
    "bert": Family(
        BertConfig, BertForMaskedLM, _bert,
        parts=lambda model: Parts(
            model.bert, model.cls.predictions.transform, model.cls.predictions.decoder
        ),
        layers="bert.encoder.layer",
        feed_forward=lambda config: 2 * config.intermediate_size,
    ),
}  # fmt: skip


def family_of(name: str) -> Family:
    """The family of a name, as in `model.config.model_type`.

    Raises
    ------
    ValueError
        If the family is unknown.
    """
    if name not in FAMILIES:
        raise ValueError(f"unknown family '{name}'; choose one of {', '.join(FAMILIES)}")
    return FAMILIES[name]
