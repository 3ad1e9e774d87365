"""The base class of every section of params.yaml, and how a refused value is explained."""

import difflib
import re
from collections.abc import Iterable
from typing import Any, get_args

from pydantic import BaseModel, ConfigDict
from pydantic_core import ErrorDetails

_TEXT = "must be text; put words such as yes and on, numbers and dates in quotes"
_NUMBER = "must be a whole number"
# In the place of pydantic's own messages, by type of error; braces hold what pydantic knows of it.
MESSAGES = {
    **dict.fromkeys(("dict_type", "model_type"), "expected keys and values"),
    **dict.fromkeys(("list_type", "tuple_type"), "expected a list"),
    **dict.fromkeys(("int_type", "int_parsing", "int_parsing_size", "int_from_float"), _NUMBER),
    **dict.fromkeys(("float_type", "float_parsing", "finite_number"), "must be a number"),
    **dict.fromkeys(("string_type", "invalid_key"), _TEXT),
    "greater_than": "must be above {gt:.10g}",
    "greater_than_equal": "must be at least {ge:.10g}",
    "less_than": "must be below {lt:.10g}",
    "less_than_equal": "must be at most {le:.10g}",
    "too_short": "must hold at least {min_length}",
    "too_long": "must hold at most {max_length}",
    "missing": "is missing",
    "none_required": "must be left out",
}


class Section(BaseModel):
    """Base class of the sections of params.yaml: frozen, and unknown keys are refused."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, populate_by_name=True, allow_inf_nan=False
    )


def as_list(value: Any) -> list:
    """One value, or several, as a list."""
    return value if isinstance(value, list) else [value]


def choices(name: Any, allowed: Iterable[str]) -> str:
    """What is allowed in the place of an unknown name, and what it may have been meant to be."""
    allowed = list(allowed)
    close = difflib.get_close_matches(str(name), allowed, n=1)
    return ", ".join(allowed) + (f"; did you mean '{close[0]}'?" if close else "")


def explain(error: ErrorDetails, section: type[Section], *, name: str = "") -> str:
    """An entry of `ValidationError.errors()` of `section` (called `name`) as ``key: message``."""
    kind, given, loc = error["type"], error["input"], error["loc"]
    if kind == "invalid_key" or (kind == "string_type" and loc[-1] == "[key]"):
        loc = loc[: -1 if kind == "invalid_key" else -2]  # YAML has read the name as another value
    where = [str(part) for part in loc if part not in ("number", "schedule", "[key]")]
    key = ".".join([name, *where] if name else where)
    if kind == "extra_forbidden":
        return f"{key}: unknown key; allowed: {choices(where[-1], _keys_at(where[:-1], section))}"
    message, known = error["msg"].removeprefix("Value error, "), error.get("ctx", {})
    if kind == "literal_error":
        allowed = re.findall("'(.*?)'", known["expected"])
        message = f"choose one of {choices(given, allowed)}"
    elif kind in MESSAGES:
        message = MESSAGES[kind].format(**known)
    shown = repr(given) if isinstance(given, str | list | dict) else str(given)
    found = "" if kind in ("missing", "value_error") else f" (found {shown:.60})"
    return f"{key}: {message}{found}" if key else f"{message}{found}"


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
