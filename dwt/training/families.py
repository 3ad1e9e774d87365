"""The families of masked language models: transformers' classes, and what sets each apart.

A further one is an entry here, in `dwt.config.scale.Shape` and in `dwt.pipeline.cost_model`. A
decoder needs more: batches, models, validation and dwt/evaluation assume masked positions.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import transformers
from torch import Tensor

from dwt.data.vocabulary import Vocabulary


@dataclass(frozen=True)
class Family:
    """What sets one family of models apart."""

    config: type[transformers.PreTrainedConfig]
    model: type[transformers.PreTrainedModel]
    layers: str  # name of the list of encoder layers in the state dict
    inner: str  # argument of `config`: inner width of the feed-forward block
    matrices: int  # of that block
    dropouts: tuple[str, ...]  # arguments of `config`
    head: Callable[[Any], Callable[[Tensor], Tensor]]  # model -> hidden states -> output layer's
    # (layers, vocabulary) -> further arguments of `config`
    further: Callable[[int, Vocabulary], dict[str, Any]] = lambda layers, vocabulary: {}


def _modernbert(layers, vocabulary):
    rope = {"rope_type": "default", "rope_theta": 10_000.0}
    return dict(
        # Every layer global: local windows are for long texts, and layers that are all alike can
        # be copied to any depth.
        layer_types=["full_attention"] * layers,
        # The base of rotary positions for short texts; the class's own is for 8,192 tokens.
        rope_parameters={"full_attention": rope, "sliding_attention": dict(rope)},
        bos_token_id=vocabulary.cls, cls_token_id=vocabulary.cls,
        eos_token_id=vocabulary.sep, sep_token_id=vocabulary.sep,
    )  # fmt: skip


def _distilbert_head(model):
    return lambda hidden: model.vocab_layer_norm(model.activation(model.vocab_transform(hidden)))


FAMILIES = {
    "modernbert": Family(
        transformers.ModernBertConfig, transformers.ModernBertForMaskedLM, "model.layers",
        inner="intermediate_size", matrices=3,  # gated: two in, one out
        dropouts=("embedding_dropout", "mlp_dropout", "attention_dropout"),
        head=lambda model: model.head, further=_modernbert,
    ),
    "distilbert": Family(
        transformers.DistilBertConfig, transformers.DistilBertForMaskedLM,
        "distilbert.transformer.layer", inner="hidden_dim", matrices=2,
        dropouts=("dropout", "attention_dropout"), head=_distilbert_head,
    ),
    "bert": Family(
        transformers.BertConfig, transformers.BertForMaskedLM, "bert.encoder.layer",
        inner="intermediate_size", matrices=2,
        dropouts=("hidden_dropout_prob", "attention_probs_dropout_prob"),
        head=lambda model: model.cls.predictions.transform,
    ),
}  # fmt: skip


def family_of(name: str) -> Family:
    """The family of a name, as in `model.config.model_type`; ValueError if it is unknown."""
    if name not in FAMILIES:
        raise ValueError(f"unknown family '{name}'; choose one of {', '.join(FAMILIES)}")
    return FAMILIES[name]
