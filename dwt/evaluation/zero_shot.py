"""Zero-shot scores of a masked-LM model: pseudo-log-likelihood, minimal pairs, cloze accuracy."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from transformers import PreTrainedModel
from transformers import PreTrainedTokenizerFast as Tokenizer

from dwt.data.corpus import Corpus
from dwt.data.vocabulary import SPECIAL_TOKENS
from dwt.evaluation.blimp import by_phenomenon
from dwt.evaluation.metrics import Scores
from dwt.evaluation.minimal_pairs import FUNCTION_WORDS
from dwt.training.models import logits_at
from dwt.training.validation import heldout_batches

# Tokens in one forward pass: more overflow a CPU's cache, fewer leave a GPU idle.
TOKENS_PER_BATCH = {"cpu": 4096, "cuda": 65_536}
TOKEN_CLASSES = (
    "function word", "content word", "continuation piece", "number", "punctuation", "special",
)  # fmt: skip
Pair = tuple[str, str]  # (good, bad) sentence


@torch.no_grad()
def pseudo_log_likelihood(
    model: PreTrainedModel, tokenizer: Tokenizer, sentences: Sequence[str], *, device: str = "cpu"
) -> np.ndarray:
    """Sum of log p(token | all other tokens) over each sentence, in nats (Salazar et al. 2020)."""
    model = model.to(device).eval()
    ids = [np.asarray(row) for row in tokenizer(list(sentences))["input_ids"]]
    scores = np.zeros(len(ids))
    for length in sorted({len(row) for row in ids}):  # one length at a time needs no padding
        rows = [(i, p) for i, row in enumerate(ids) if len(row) == length
                for p in range(1, length - 1)]  # fmt: skip
        size = max(1, TOKENS_PER_BATCH[torch.device(device).type] // length)
        for part in (rows[k : k + size] for k in range(0, len(rows), size)):
            sentence, place = np.array(part).T  # [R], [R]
            batch = torch.from_numpy(np.stack([ids[i] for i in sentence])).to(device)  # [R, L]
            place = torch.from_numpy(place[:, None]).to(device)  # [R, 1]
            targets = batch.gather(1, place)  # [R, 1]
            masked = batch.scatter(1, place, tokenizer.mask_token_id)
            logits = logits_at(model, masked, place)
            log_p = logits.float().log_softmax(-1).gather(1, targets)[:, 0]  # [R]
            np.add.at(scores, sentence, log_p.double().cpu().numpy())
    return scores


def pair_scores(
    model: PreTrainedModel, tokenizer: Tokenizer, pairs: Sequence[Pair], *, device: str = "cpu"
) -> np.ndarray:
    """1 for each (good, bad) pair whose good sentence is more likely, 0.5 for a tie."""
    good, bad = zip(*pairs, strict=True)
    scores = pseudo_log_likelihood(model, tokenizer, [*good, *bad], device=device)
    margin = scores[: len(good)] - scores[len(good) :]
    return (margin > 0) + 0.5 * (margin == 0)


def blimp_accuracy(
    model: PreTrainedModel, tokenizer: Tokenizer, blimp: pd.DataFrame, *, device: str = "cpu"
) -> Scores:
    """Accuracy on BLiMP and its phenomena; see `dwt.evaluation.blimp.by_phenomenon`."""
    # One call for all sets: a single set would not fill a batch.
    pairs = list(zip(blimp.sentence_good, blimp.sentence_bad, strict=True))
    return by_phenomenon(blimp, pair_scores(model, tokenizer, pairs, device=device))


def token_classes(tokenizer: Tokenizer) -> np.ndarray:
    """Class of every token of a vocabulary, one of `TOKEN_CLASSES`. [V]"""
    return np.array([*map(_token_class, tokenizer.convert_ids_to_tokens(range(len(tokenizer))))])


def _token_class(token):
    if token in SPECIAL_TOKENS:
        return "special"
    if token.startswith("##"):
        return "continuation piece"
    if token.lower() in FUNCTION_WORDS:
        return "function word"
    if token.isnumeric():
        return "number"
    return "content word" if any(map(str.isalpha, token)) else "punctuation"


@torch.no_grad()
def cloze_accuracy(
    model: PreTrainedModel, corpus: Corpus, *, train: dict, sequences: int, device: str = "cpu"
) -> Scores:
    """Share of masked tokens predicted right, by those classes of the true token that occur.

    Read are `sequences` held-out sequences, in batches by the section `train` of the scale.
    """
    model = model.to(device).eval()
    classes, text = token_classes(corpus.tokenizer()), corpus.tokens("heldout")
    correct, kind = [], []
    for batch in heldout_batches(text, corpus.vocabulary, sequences=sequences, train=train):
        ids, positions, targets = (torch.from_numpy(array) for array in batch)
        logits = logits_at(model, ids.to(device), positions.to(device))  # [B * M, V]
        correct.append((logits.argmax(-1).cpu() == targets.ravel()).numpy())
        kind.append(classes[targets.ravel().numpy()])
    correct, kind = np.concatenate(correct), np.concatenate(kind)
    by_class = {name: correct[kind == name] for name in TOKEN_CLASSES}
    return {name: (float(c.mean()), len(c)) for name, c in by_class.items() if len(c)}
