"""The `corpus` section of a scale: where the text comes from, how it is split, its vocabulary."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PositiveFloat, PositiveInt, model_validator

from dwt.config.section import Section, as_list

Names = Annotated[list[str], Field(min_length=1), BeforeValidator(as_list)]
SOURCES = {"docstrings": "packages", "files": "files", "hub": "path", "mixture": "parts"}
KEYS = {  # main key of a source of text -> further keys that it allows
    "packages": (),
    "files": ("column", "join", "cut", "limit_mb", "sample"),
    "path": ("split", "name", "revision", "column", "join", "cut", "limit_mb", "sample"),
    "parts": ("limit_mb", "sample"),
}


class VocabularySettings(Section):
    """A WordPiece vocabulary: learned from the training text, or taken from elsewhere."""

    size: Annotated[int, Field(gt=0, le=2**16)] | None = None  # ids are stored in 16 bits
    alphabet: PositiveInt = 150  # different characters of a learned one
    file: str | None = None  # one token per line
    pretrained: str | None = None  # a folder, or a tokenizer of the hub

    @model_validator(mode="after")
    def _one_origin(self):
        if sum(bool(origin) for origin in (self.size, self.file, self.pretrained)) != 1:
            raise ValueError("give size (and alphabet) to learn one, or file, or pretrained")
        return self


class Text(Section):
    """One text: files or a hub dataset."""

    files: Names | None = None
    path: str | None = None
    split: str | None = None
    name: str | None = None
    revision: str | None = None
    column: str = "text"
    join: PositiveInt | None = None  # number of consecutive rows that make one document
    cut: PositiveInt | None = None  # documents of more characters are cut at ends of lines

    @property
    def kind(self) -> str | None:
        """The key of `KEYS` that names the text."""
        return next((key for key in KEYS if getattr(self, key, None)), None)

    @model_validator(mode="after")
    def _keys_go_together(self):
        kind, given = self.kind, self.model_dump(exclude_defaults=True)
        if kind not in given:
            missing = f"give {kind}" if kind else "give files, or path and split of a hub dataset"
            raise ValueError(f"{missing}; nothing names the text")
        for key in sorted({*KEYS, *sum(KEYS.values(), ())} - {kind, *KEYS[kind]}):
            if key in given:
                allowed = ", ".join(k for k in KEYS[kind] if k in type(self).model_fields)
                raise ValueError(f"{key} does not go with {kind}; allowed: {allowed or 'nothing'}")
        if kind == "path" and not self.split:
            raise ValueError("split is missing; name the split of the dataset, as 'train'")
        return self


class Part(Text):
    """One text of a mixture."""

    weight: PositiveFloat = 1.0  # its share of the text is this over the sum of all weights


class OutOfDomain(Text):
    """Text that is kept out of training; it may also be the docstrings of packages."""

    packages: Names | None = None


class CorpusSettings(Text):
    """The text of a scale; data/README.md explains the keys."""

    source: Literal["docstrings", "files", "hub", "mixture"]
    vocabulary: VocabularySettings
    heldout: Annotated[float, Field(gt=0, lt=1)]  # share of documents
    out_of_domain: OutOfDomain
    packages: Names | None = None
    parts: Annotated[list[Part], Field(min_length=1)] | None = None
    limit_mb: PositiveFloat | None = None
    sample: Annotated[float, Field(gt=0, lt=1)] | None = None  # share of sentences

    @property
    def kind(self) -> str:
        return SOURCES[self.source]

    @model_validator(mode="before")
    @classmethod
    def _out_of_domain_in_full(cls, data: Any) -> Any:
        """A list stands for packages or files; the column is that of the training text."""
        if not isinstance(data, dict):
            return data
        data = {key: value for key, value in data.items() if value is not None}
        text = data.get("out_of_domain")
        if isinstance(text, str | list):
            text = {"packages" if data.get("source") == "docstrings" else "files": text}
        if isinstance(text, dict):
            column = {} if "packages" in text else {"column": data.get("column", "text")}
            data["out_of_domain"] = column | text
        return data

    @model_validator(mode="after")
    def _packages_are_named_once(self):
        packages = [*(self.packages or ()), *(self.out_of_domain.packages or ())]
        if twice := [package for package in packages if packages.count(package) > 1]:
            problem = "is named twice; out_of_domain text must stay out of training"
            raise ValueError(f"package '{twice[0]}' {problem}")
        return self

    def megabytes_of(self, file: str) -> float | None:
        """How much of one of its files is read at most; None: all of it."""
        if self.limit_mb is None or not self.parts:
            return self.limit_mb
        weights = [(part.weight, file in (part.files or ())) for part in self.parts]
        share = sum(w for w, of_file in weights if of_file) / sum(w for w, _ in weights)
        return self.limit_mb * max(share, self.heldout)  # out of domain: as much as is held out
