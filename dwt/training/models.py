"""What are student and teacher, and what do they compute at the masked positions?

transformers' own classes, built from a shape; saved and loaded with `from_pretrained`.
"""

from functools import partial

import torch
from transformers import (
    AutoModelForMaskedLM,
    BertConfig,
    BertForMaskedLM,
    DistilBertConfig,
    DistilBertForMaskedLM,
    ModernBertConfig,
    ModernBertForMaskedLM,
)


def build_model(shape, *, layers, vocabulary, max_length, pad=0, seed=0):
    """A masked language model with fresh weights.

    Parameters
    ----------
    shape : dict
        ``family`` (modernbert, distilbert or bert), ``width``, ``heads``, ``intermediate`` (inner
        width of the feed-forward block), ``dropout``, ``initializer_range`` (standard deviation
        of fresh weights) and perhaps ``positions``: the `model` section of params.yaml.
    layers, max_length, pad : int
        ``max_length`` sizes the position table where the family has one and the shape does not
        give its ``positions``.
    vocabulary : dwt.training.batches.Vocabulary
    seed : int
        Of the initialisation.

    Raises
    ------
    ValueError
        If the family is unknown.
    """
    family, width, dropout = shape["family"], shape["width"], shape.get("dropout", 0.0)
    spread = shape.get("initializer_range", 0.02)
    max_length = shape.get("positions") or max_length
    if family == "modernbert":
        config = ModernBertConfig(
            vocab_size=vocabulary.size,
            initializer_range=spread,
            hidden_size=width,
            intermediate_size=shape["intermediate"],
            num_hidden_layers=layers,
            num_attention_heads=shape["heads"],
            max_position_embeddings=max_length,
            # Every layer global: local windows are for long texts, and layers that are all
            # alike can be copied to any depth.
            layer_types=["full_attention"] * layers,
            # The base of rotary positions for short texts; the class's own is for 8,192 tokens.
            rope_parameters={
                kind: {"rope_type": "default", "rope_theta": 10_000.0}
                for kind in ("full_attention", "sliding_attention")
            },
            embedding_dropout=dropout,
            mlp_dropout=dropout,
            attention_dropout=dropout,
            pad_token_id=pad,
            bos_token_id=vocabulary.cls,
            cls_token_id=vocabulary.cls,
            eos_token_id=vocabulary.sep,
            sep_token_id=vocabulary.sep,
        )
        model_class = ModernBertForMaskedLM
    elif family == "distilbert":
        config = DistilBertConfig(
            vocab_size=vocabulary.size,
            initializer_range=spread,
            dim=width,
            hidden_dim=shape["intermediate"],
            n_layers=layers,
            n_heads=shape["heads"],
            max_position_embeddings=max_length,
            dropout=dropout,
            attention_dropout=dropout,
            pad_token_id=pad,
        )
        model_class = DistilBertForMaskedLM
    elif family == "bert":
        config = BertConfig(
            vocab_size=vocabulary.size,
            initializer_range=spread,
            hidden_size=width,
            intermediate_size=shape["intermediate"],
            num_hidden_layers=layers,
            num_attention_heads=shape["heads"],
            max_position_embeddings=max_length,
            hidden_dropout_prob=dropout,
            attention_probs_dropout_prob=dropout,
            pad_token_id=pad,
        )
        model_class = BertForMaskedLM
    else:
        raise ValueError(f"unknown family '{family}'; choose modernbert, distilbert or bert")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return model_class(config)


def load_model(directory):
    """A model that `save_pretrained` wrote, in float32, from local files only."""
    return AutoModelForMaskedLM.from_pretrained(
        directory, dtype=torch.float32, local_files_only=True
    )


def _parts(model):
    """Encoder, head (hidden state -> what the output layer reads) and output layer."""
    family = model.config.model_type
    if family == "modernbert":
        return model.model, model.head, model.decoder
    if family == "distilbert":
        return model.distilbert, partial(_distilbert_head, model), model.vocab_projector
    if family == "bert":
        return model.bert, model.cls.predictions.transform, model.cls.predictions.decoder
    if family == "counted":  # `dwt.training.counted`
        return model.encoder, lambda hidden: hidden, model.output
    raise ValueError(f"unknown family '{family}'; known are modernbert, distilbert and bert")


def _distilbert_head(model, hidden):
    return model.vocab_layer_norm(model.activation(model.vocab_transform(hidden)))


def output_layer(model):
    """The last linear layer (weight [V, D], bias [V]): hidden state -> logits."""
    return _parts(model)[2]


def hidden_at(model, input_ids, positions, attention_mask=None):
    """What the output layer reads, at chosen positions only.

    The head runs on the M masked positions of each sequence instead of all L; in the paper's
    shape that is 15 % of its cost.

    Parameters
    ----------
    model : PreTrainedModel
    input_ids : Tensor, [B, L]
    positions : Tensor, [B, M]
    attention_mask : Tensor, [B, L], optional
        1 on tokens, 0 on padding; None when nothing is padded.

    Returns
    -------
    Tensor, [B * M, D]
    """
    encoder, head, _ = _parts(model)
    hidden = encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
    start = torch.arange(len(input_ids), device=input_ids.device)[:, None] * input_ids.shape[1]
    chosen = hidden.flatten(0, 1).index_select(0, (start + positions).flatten())  # [B * M, D]
    return head(chosen)


def logits_at(model, input_ids, positions, attention_mask=None):
    """Logits at chosen positions only. [B * M, V]"""
    return output_layer(model)(hidden_at(model, input_ids, positions, attention_mask))


def count_parameters(model):
    """Distinct parameters; a tied embedding counts once."""
    return sum(p.numel() for p in model.parameters())


def forward_flops(config, *, batch, length, masked):
    """Floating-point operations of one forward pass: matrix products, 2 per multiply-add.

    Parameters
    ----------
    config : PreTrainedConfig
    batch, length : int
        Sequences, and tokens of each.
    masked : int
        Positions per sequence at which head and output layer run.

    Notes
    -----
    A training step costs three times this (the backward pass is two products per product).
    Norms, activations and look-ups are left out, as usual; a test checks the count against
    `torch.utils.flop_counter.FlopCounterMode`.
    """
    d, layers = config.hidden_size, config.num_hidden_layers
    if config.model_type == "modernbert":
        inner = 3 * config.intermediate_size  # gated: twice the inner width in, once out
    elif config.model_type == "distilbert":
        inner = 2 * config.hidden_dim
    else:
        inner = 2 * config.intermediate_size
    per_token = layers * (4 * d * d + d * inner + 2 * length * d)
    per_masked = d * d + d * config.vocab_size
    return 2 * batch * (length * per_token + masked * per_masked)
