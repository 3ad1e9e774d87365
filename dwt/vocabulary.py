"""Which tokens is the text cut into? A WordPiece vocabulary, learned or read from a file."""

from collections import Counter

from tokenizers import (
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import PreTrainedTokenizerFast

from dwt.sources import CorpusError

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
VOCABULARY_CHARACTERS = 50_000_000  # a vocabulary is learned from at most this much training text


def make_tokenizer(settings, texts, *, root):
    """A WordPiece tokenizer from a vocabulary file, or learned from training text.

    Parameters
    ----------
    settings : dict
        ``{file}``, one token per line, or ``{size, alphabet}``.
    texts : callable
        Returns an iterator over the training documents each time it is called.
    root : Path
        What a relative ``file`` starts from.

    Raises
    ------
    CorpusError
        If the file is missing, is not UTF-8 or lacks a special token, or the size is too small.
    """
    if "file" in settings:
        path = root / settings["file"]
        if not path.is_file():
            raise CorpusError(f"corpus.vocabulary.file: {settings['file']} does not exist")
        try:
            tokens = path.read_text(encoding="utf-8").splitlines()
        except UnicodeDecodeError:
            raise CorpusError(f"corpus.vocabulary.file: {settings['file']} is not UTF-8") from None
        missing = [token for token in SPECIAL_TOKENS if token not in tokens]
        if missing:
            raise CorpusError(
                f"corpus.vocabulary.file: {settings['file']} lacks {', '.join(missing)}; "
                f"one token per line, {' '.join(SPECIAL_TOKENS)} among them"
            )
        cased = any(t != t.lower() for t in tokens if not t.startswith("["))
        return _wordpiece({token: i for i, token in enumerate(tokens)}, lowercase=not cased)

    # The trainer numbers characters as it meets them in a randomly ordered hash map, and merges of
    # equal count are taken in that order. Handing it the characters, alone and as continuations,
    # makes the vocabulary a function of the text.
    normalizer = normalizers.BertNormalizer(lowercase=True)
    characters = Counter()
    for document in _budgeted(texts()):
        characters.update(normalizer.normalize_str(document))
    ranked = sorted((-n, c) for c, n in characters.items() if not c.isspace())
    alphabet = [c for _, c in ranked[: settings["alphabet"]]]
    needed = len(SPECIAL_TOKENS) + 2 * len(alphabet)
    if settings["size"] <= needed:
        raise CorpusError(
            f"corpus.vocabulary.size: {settings['size']} leaves no room for words; with "
            f"{len(alphabet)} characters, alone and as continuations, it must exceed {needed}"
        )
    trainer = trainers.WordPieceTrainer(
        vocab_size=settings["size"],
        limit_alphabet=len(alphabet),
        initial_alphabet=alphabet,
        special_tokens=[*SPECIAL_TOKENS, *(f"##{c}" for c in sorted(alphabet))],
        show_progress=False,
    )
    learner = _wordpiece({"[UNK]": 0}, lowercase=True)
    learner.train_from_iterator(_budgeted(texts()), trainer)
    return _wordpiece(learner.get_vocab(with_added_tokens=True), lowercase=True)


def _budgeted(texts):
    """The first documents, `VOCABULARY_CHARACTERS` of them at most."""
    left = VOCABULARY_CHARACTERS
    for text in texts:
        if left <= 0:
            return
        left -= len(text)
        yield text


def _wordpiece(vocabulary, *, lowercase):
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    if "[SEP]" in vocabulary:
        tokenizer.add_special_tokens(list(SPECIAL_TOKENS))
        tokenizer.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]",
            pair="[CLS] $A [SEP] $B:1 [SEP]:1",
            special_tokens=[(t, vocabulary[t]) for t in ("[CLS]", "[SEP]")],
        )
    return tokenizer


def save_tokenizer(tokenizer, directory):
    """Write the files that `transformers.AutoTokenizer.from_pretrained` reads."""
    names = {f"{token[1:-1].lower()}_token": token for token in SPECIAL_TOKENS}
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, model_input_names=["input_ids", "attention_mask"], **names
    )
    fast.save_pretrained(directory)
