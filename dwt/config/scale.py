"""What may one scale ask for? Its text, its models' shape, how they are trained and scored.

`dwt.config.schema` has the rest of params.yaml.
"""

from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

Share = Annotated[float, Field(ge=0, le=1)]


def switch(value):
    """YAML reads a bare on or off as true or false."""
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else value


def _threads(value):
    if value == "auto" or (type(value) is int and value > 0):
        return value
    raise ValueError(f"{value!r} is neither 'auto' nor a whole number of at least 1")


def _listed(value):
    return value if isinstance(value, list) else [value]


def _checkpoints(value):
    if isinstance(value, bool) or (isinstance(value, list) and all(type(v) is str for v in value)):
        return value
    raise ValueError(f"{value!r} is neither true, nor false, nor a list of tasks")


Task = Literal[
    "missing-word", "function-words", "cola", "sst2", "mrpc", "qqp", "stsb", "mnli", "qnli", "rte",
    "wnli",
]  # fmt: skip
Threads = Annotated[int | Literal["auto"], BeforeValidator(_threads)]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Vocabulary(Section):
    size: Annotated[int, Field(gt=0, le=2**16)] | None = None  # ids are kept in 16 bits
    alphabet: PositiveInt = 150
    file: str | None = None
    pretrained: str | None = None


class Part(Section):
    """One text of a mixture: files, or a hub dataset."""

    weight: PositiveFloat = 1.0  # its share of the text is this over the sum of all
    join: PositiveInt | None = None  # so many consecutive rows make one document
    cut: PositiveInt | None = None  # documents of more characters are cut at ends of lines
    files: list[str] | None = None
    path: str | None = None
    name: str | None = None
    split: str | None = None
    revision: str | None = None
    column: str = "text"

    @model_validator(mode="after")
    def _files_or_a_dataset(self):
        if bool(self.files) == bool(self.path) or bool(self.path) != bool(self.split):
            raise ValueError("give files, or path and split of a hub dataset")
        return self


class Corpus(Section):
    source: Literal["docstrings", "files", "hub", "mixture"]
    vocabulary: Vocabulary
    heldout: Annotated[float, Field(gt=0, lt=1)]
    out_of_domain: Any
    packages: list[str] | None = None
    files: list[str] | None = None
    limit_mb: PositiveFloat | None = None
    path: str | None = None
    name: str | None = None
    split: str | None = None
    revision: str | None = None
    column: str = "text"
    parts: list[Part] | None = None
    sample: Annotated[float, Field(gt=0, lt=1)] | None = None  # share of sentences kept

    @model_validator(mode="after")
    def _source_has_its_key(self):
        keys = {"docstrings": "packages", "files": "files", "hub": "path", "mixture": "parts"}
        key = keys[self.source]
        if not getattr(self, key):
            raise ValueError(f"source '{self.source}' needs the key '{key}'")
        return self


class Shape(Section):
    family: Literal["modernbert", "distilbert", "bert"]
    width: PositiveInt
    heads: PositiveInt
    intermediate: PositiveInt
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    initializer_range: PositiveFloat = 0.02
    positions: PositiveInt | None = None  # of the position table; train.length where left out

    @model_validator(mode="after")
    def _heads_divide_width(self):
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is not a multiple of heads {self.heads}")
        return self


class Train(Section):
    steps: PositiveInt
    batch: PositiveInt
    length: Annotated[int, Field(ge=4)]
    mask_rate: Annotated[float, Field(gt=0, lt=1)]
    learning_rate: PositiveFloat
    betas: tuple[Share, Share] = (0.9, 0.98)
    weight_decay: NonNegativeFloat = 0.01
    warmup: Share = 0.06
    clip: PositiveFloat = 1.0
    precision: Literal["fp32", "bf16"] = "fp32"
    threads: Threads = "auto"  # auto: as many as there are cores to be had
    compile: Annotated[Literal["auto", "on", "off"], BeforeValidator(switch)] = "auto"
    accumulate: PositiveInt = 1
    log_every: PositiveInt
    evaluate_every: PositiveInt
    evaluate_sequences: PositiveInt
    final_sequences: PositiveInt
    checkpoint_every: PositiveInt
    keep: list[Annotated[float, Field(gt=0, lt=1)]] = []

    @model_validator(mode="after")
    def _batch_splits_evenly(self):
        if self.batch % self.accumulate:
            raise ValueError(f"batch {self.batch} is not a multiple of {self.accumulate=}")
        if self.evaluate_every % self.log_every:
            raise ValueError("evaluate_every must be a multiple of log_every")
        return self


class Evaluate(Section):
    pairs: PositiveInt
    tasks: Annotated[list[Task], Field(min_length=1)]
    glue: str = "nyu-mll/glue"  # a folder of TASK/train.parquet, or a hub dataset
    examples: PositiveInt | None  # at most so many of each task to fine-tune on; null: all
    validation: PositiveInt | None = None  # at most so many of GLUE's to score; null: all
    seeds: PositiveInt
    epochs: Annotated[list[PositiveInt], Field(min_length=1), BeforeValidator(_listed)]
    learning_rate: Annotated[list[PositiveFloat], Field(min_length=1), BeforeValidator(_listed)]
    batch: PositiveInt
    length: Annotated[int, Field(ge=8)] = 128  # longer texts are cut
    checkpoints: Annotated[bool | list[str], BeforeValidator(_checkpoints)] = False

    blimp: str | None = (
        None  # parquet file, folder of them or hub dataset; see `dwt.evaluation.blimp`
    )
    blimp_pairs: PositiveInt | None = None  # of each of its sets; null: all

    @model_validator(mode="after")
    def _lists_hold_each_once(self):
        for key in ("tasks", "epochs", "learning_rate"):
            if len({*(values := getattr(self, key))}) < len(values):
                raise ValueError(f"{key}: {values} names one twice")
        return self

    @model_validator(mode="after")
    def _checkpoints_are_scored_on_tasks(self):
        wanted = self.checkpoints if isinstance(self.checkpoints, list) else []
        for name in wanted:
            if name not in self.tasks:
                raise ValueError(
                    f"checkpoints: '{name}' is not in tasks; choose from {', '.join(self.tasks)}"
                )
        return self


class Scale(Section):
    corpus: Corpus
    model: Shape
    train: Train
    evaluate: Evaluate

    @model_validator(mode="after")
    def _sequences_fit_the_positions(self):
        if self.model.positions and self.model.positions < self.train.length:
            raise ValueError(
                f"model.positions {self.model.positions} is less than train.length "
                f"{self.train.length}"
            )
        return self

    @model_validator(mode="after")
    def _checkpoints_are_kept(self):
        if self.evaluate.checkpoints and not self.train.keep:
            raise ValueError("evaluate.checkpoints: train.keep names no checkpoint to score")
        return self

    @model_validator(mode="after")
    def _texts_fit_the_positions(self):
        positions = getattr(self.model, "positions", None) or self.train.length
        if self.model.family != "modernbert" and self.evaluate.length > positions:
            raise ValueError(
                f"evaluate.length {self.evaluate.length} is more than the {positions} positions of "
                f"a {self.model.family} (train.length); ModernBERT has no such limit"
            )
        return self
