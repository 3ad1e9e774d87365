"""The base class of every section of params.yaml, and how a refused value is explained."""

from typing import Any, get_args

from pydantic import BaseModel, ConfigDict
from pydantic_core import ErrorDetails

# In the place of pydantic's own messages, which name Python classes.
MESSAGES = {
    **dict.fromkeys(("dict_type", "model_type"), "expected keys and values"),
    **dict.fromkeys(("list_type", "tuple_type"), "expected a list"),
    "none_required": "must be left out",
}


class Section(BaseModel):
    """Base class of the sections of params.yaml: frozen, and unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


def as_list(value: Any) -> list:
    """One value, or several, as a list."""
    return value if isinstance(value, list) else [value]


def explain(error: ErrorDetails, section: type[Section], *, name: str = "") -> str:
    """One entry of `ValidationError.errors()` as ``key: what is wrong; what is allowed``.

    `section` is the class that was being validated and `name` the key that holds it, if any.
    """
    where = [str(part) for part in error["loc"] if part not in ("number", "schedule", "[key]")]
    key = ".".join([name, *where] if name else where)
    if error["type"] == "extra_forbidden":
        return f"{key}: unknown key; allowed: {', '.join(_keys_at(where[:-1], section))}"
    message = MESSAGES.get(error["type"], error["msg"].removeprefix("Value error, "))
    given = "" if error["type"] in ("missing", "value_error") else f" (found {error['input']!r})"
    return f"{key}: {message}{given}" if key else f"{message}{given}"


def _keys_at(where: list[str], section: type[Section]) -> list[str]:
    """The keys allowed at a place below a section."""
    for part in where:
        if part in section.model_fields:
            section = _section_in(section.model_fields[part].annotation) or section
    return [field.alias or name for name, field in section.model_fields.items() if name != "root"]


def _section_in(annotation: Any) -> type[Section] | None:
    """The section class inside an annotation such as ``dict[Name, Model] | None``."""
    if isinstance(annotation, type) and not get_args(annotation):
        return annotation if issubclass(annotation, Section) else None
    return next(filter(None, map(_section_in, get_args(annotation))), None)
