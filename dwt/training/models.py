"""Student and teacher: built from a shape, read at their masked positions, counted in FLOPs."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModelForMaskedLM, PreTrainedModel, PreTrainedTokenizerFast

from dwt.data.vocabulary import Vocabulary
from dwt.training.families import family_of


def build_model(
    shape: Mapping[str, Any], *, layers: int, vocabulary: Vocabulary | PreTrainedTokenizerFast,
    max_length: int, pad: int | None = None, seed: int = 0,
) -> PreTrainedModel:  # fmt: skip
    """A masked language model with fresh weights.

    Parameters
    ----------
    shape : mapping
        The `model` section of params.yaml: ``family``, ``width``, ``heads``, ``intermediate``
        (inner width of the feed-forward block) and perhaps ``dropout`` (0), ``initializer_range``
        (0.02, standard deviation of fresh weights) and ``positions``.
    layers : int
    vocabulary : Vocabulary or PreTrainedTokenizerFast
        That of a corpus, or a tokenizer with BERT's special tokens.
    max_length : int
        Rows of the position table, in tokens, where the shape does not give ``positions``.
    pad : int, optional
        Id of the padding token; by default that of [PAD].
    seed : int
        Of the initialisation.

    Raises
    ------
    ValueError
        If the family is unknown, or the tokenizer lacks a special token.

    Examples
    --------
    >>> tokenizer = AutoTokenizer.from_pretrained("bert-base-uncased")
    >>> model = build_model(shape, layers=6, vocabulary=tokenizer, max_length=128)
    """
    if not isinstance(vocabulary, Vocabulary):
        vocabulary = Vocabulary.of(vocabulary)
    family = family_of(shape["family"])
    settings: dict[str, Any] = dict(
        vocab_size=vocabulary.size, pad_token_id=vocabulary.special[0] if pad is None else pad,
        hidden_size=shape["width"], num_attention_heads=shape["heads"], num_hidden_layers=layers,
        initializer_range=shape.get("initializer_range", 0.02),
        max_position_embeddings=shape.get("positions") or max_length,
        **{family.inner: shape["intermediate"]},
        **dict.fromkeys(family.dropouts, shape.get("dropout", 0.0)),
        **family.further(layers, vocabulary),
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return family.model(family.config(**settings))


def load_model(directory: str | Path) -> PreTrainedModel:
    """A model that `save_pretrained` wrote, in float32, from local files only."""
    return AutoModelForMaskedLM.from_pretrained(
        directory, dtype=torch.float32, local_files_only=True
    )


def output_layer(model: Any) -> nn.Linear:
    """The last linear layer (weight [V, D], bias [V]): hidden state -> logits."""
    return model.get_output_embeddings()


def hidden_at(
    model: Any, input_ids: Tensor, positions: Tensor, attention_mask: Tensor | None = None
) -> Tensor:
    """The input of the output layer at chosen positions [B, M], `[B * M, D]`.

    The head runs on these alone: 15 % of its cost in the paper's shape. `attention_mask` [B, L] is
    1 on tokens, 0 on padding.
    """
    outputs = model.base_model(input_ids=input_ids, attention_mask=attention_mask)
    hidden = outputs.last_hidden_state  # [B, L, D]
    start = torch.arange(len(input_ids), device=input_ids.device)[:, None] * input_ids.shape[1]
    chosen = hidden.flatten(0, 1).index_select(0, (start + positions).flatten())  # [B * M, D]
    if not model.config.num_hidden_layers:  # a teacher that reads no context has no head
        return chosen
    return family_of(model.config.model_type).head(model)(chosen)


def logits_at(
    model: Any, input_ids: Tensor, positions: Tensor, attention_mask: Tensor | None = None
) -> Tensor:
    """Logits at chosen positions, `[B * M, V]`; parameters as in `hidden_at`."""
    return output_layer(model)(hidden_at(model, input_ids, positions, attention_mask))


def count_parameters(model: nn.Module) -> int:
    """Distinct parameters; a tied embedding counts once."""
    return sum(p.numel() for p in model.parameters())


def forward_flops(config: Any, *, batch: int, length: int, masked: int) -> int:
    """Floating-point operations of one forward pass: matrix products, 2 per multiply-add.

    Head and output layer run at the `masked` positions of each sequence. Norms, activations and
    look-ups are left out. A training step costs three times this.
    """
    d, per_token = config.hidden_size, 0
    if config.num_hidden_layers:
        family = family_of(config.model_type)
        inner = family.matrices * getattr(config, family.inner)
        per_token = config.num_hidden_layers * (4 * d * d + d * inner + 2 * length * d)
    per_masked = d * d + d * config.vocab_size
    return 2 * batch * (length * per_token + masked * per_masked)
