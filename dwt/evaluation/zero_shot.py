"""What does a model know without being taught a task? Pseudo-log-likelihoods, pairs and clozes."""

import numpy as np
import torch

from dwt.evaluation.blimp import by_phenomenon
from dwt.evaluation.heldout_tasks import TOKEN_CLASSES, token_classes
from dwt.training.models import logits_at
from dwt.training.validation import heldout_batches

# Per forward pass of the zero-shot scores: more leave the CPU's cache, fewer leave a GPU idle.
TOKENS_AT_ONCE = {"cpu": 4096, "cuda": 65_536}


@torch.no_grad()
def pseudo_log_likelihood(model, tokenizer, sentences, *, device="cpu"):
    """Sum over a sentence's tokens of log p(token | all the others), nats.

    Each token is masked in turn (Salazar et al. 2020, Eq. 1); the score that BLiMP uses for
    masked models.

    Parameters
    ----------
    model : PreTrainedModel
    tokenizer : PreTrainedTokenizerFast
    sentences : sequence of str

    Returns
    -------
    array of float64, [len(sentences)]
    """
    model = model.to(device).eval()
    ids = [np.asarray(row) for row in tokenizer(list(sentences))["input_ids"]]
    scores = np.zeros(len(ids))
    for length in sorted({len(row) for row in ids}):  # sentences of one length: nothing is padded
        rows = [(i, p) for i, row in enumerate(ids) if len(row) == length
                for p in range(1, length - 1)]  # fmt: skip
        at_once = max(1, TOKENS_AT_ONCE[torch.device(device).type] // length)
        for part in (rows[k : k + at_once] for k in range(0, len(rows), at_once)):
            sentence, place = np.array(part).T  # [R], [R]
            batch = np.stack([ids[i] for i in sentence])  # [R, L]
            truth = torch.from_numpy(batch[np.arange(len(part)), place]).to(device)
            batch[np.arange(len(part)), place] = tokenizer.mask_token_id
            logits = logits_at(
                model, torch.from_numpy(batch).to(device), torch.tensor(place[:, None]).to(device)
            )
            found = logits.float().log_softmax(-1).gather(1, truth[:, None])[:, 0]
            np.add.at(scores, sentence, found.double().cpu().numpy())
    return scores


def pairs_right(model, tokenizer, pairs, *, device="cpu"):
    """1 for each (good, bad) pair in which the good sentence is the likelier, 0.5 for a tie."""
    good, bad = zip(*pairs, strict=True)
    scores = pseudo_log_likelihood(model, tokenizer, [*good, *bad], device=device)
    margin = scores[: len(good)] - scores[len(good) :]
    return (margin > 0) + 0.5 * (margin == 0)


def minimal_pair_accuracy(model, tokenizer, pairs, *, device="cpu"):
    """Share of (good, bad) pairs in which the good sentence is the likelier; a tie counts half."""
    return float(pairs_right(model, tokenizer, pairs, device=device).mean())


def blimp_accuracy(model, tokenizer, blimp, *, device="cpu"):
    """Minimal-pair accuracy of BLiMP and of its phenomena, as `dwt.evaluation.blimp.by_phenomenon`.

    The sentences of all sets are scored in one call: sets alone would fill no batch.
    """
    pairs = list(zip(blimp.sentence_good, blimp.sentence_bad, strict=True))
    return by_phenomenon(blimp, pairs_right(model, tokenizer, pairs, device=device))


@torch.no_grad()
def cloze_accuracy(model, corpus, *, train, sequences, device="cpu"):
    """Share of masked held-out tokens guessed right, by class of the true token.

    Returns
    -------
    dict of str to (float, int)
        Accuracy and number of masked tokens of each class that occurs.
    """
    model = model.to(device).eval()
    tokens, vocabulary = corpus.tokens("heldout"), corpus.vocabulary
    classes = token_classes(corpus.tokenizer())
    right, truth = [], []
    for ids, positions, targets in heldout_batches(
        tokens, vocabulary, sequences=sequences, train=train
    ):
        guess = logits_at(
            model, torch.from_numpy(ids).to(device), torch.from_numpy(positions).to(device)
        ).argmax(-1)
        truth.append(targets.ravel())
        right.append(guess.cpu().numpy() == targets.ravel())
    right, kind = np.concatenate(right), classes[np.concatenate(truth)]
    return {
        name: (float(right[kind == name].mean()), int((kind == name).sum()))
        for name in TOKEN_CLASSES
        if (kind == name).any()
    }
