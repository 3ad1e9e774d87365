"""Extracts the docstrings of Python source code and splits them into paragraphs of prose."""

import ast
import inspect
import re
import warnings
from collections.abc import Iterator

from dwt.data.sentences import clean, is_prose

_SECTIONS = {
    "Parameters": "parameters args arguments params inputs",
    "Returns": "returns return yields outputs",
    "Raises": "raises warns",
    "Notes": "notes note warnings warning",
    "Examples": "examples example",
    "Other": "shape",
}
_HEADINGS = {  # heading in lower case -> section
    **{name.lower(): name for name in ("Attributes", "See Also", "Methods", "References")},
    **dict.fromkeys(("other parameters", "keyword args", "keyword arguments"), "Parameters"),
    **{alias: section for section, aliases in _SECTIONS.items() for alias in aliases.split()},
}
_ENTRIES = {"Parameters", "Attributes", "Returns", "Raises", "See Also", "Methods"}
_PROSE_DIRECTIVES = {"note", "warning", "tip", "important", "caution", "hint", "attention"}
_UNDERLINE = re.compile(r"\s*([-=~^]{3,})\s*$")
_BULLET = re.compile(r"(?:[-*+•]|\(?\w[.)]|\d+[.)])\s+(.*)")
_DIRECTIVE = re.compile(r"\.\. +(?:([\w-]+):: *(.*)|.*)")
_GOOGLE_ENTRY = re.compile(
    r"[*`-]* ?`?([A-Za-z_][\w.]*(?:, *[\w*]+)*)`* *(?:\((.*?)\))?`? *:(?: +(.*)|$)"
)
_FIELDS = {"par": "Parameters", "arg": "Parameters", "ret": "Returns", "rai": "Raises"}
_FIELD = re.compile(r":(param|parameter|arg|returns?|raises?) ?([^:]*): *(.*)")


def docstrings(code: bytes) -> Iterator[str]:
    """Docstrings of source code, and its multi-line strings, which may be attached at import."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SyntaxWarning)
        try:
            stack = [ast.parse(code)]
        except (SyntaxError, ValueError):  # a template, or another Python's syntax
            return
    while stack:  # depth first, in the order of the file
        node = stack.pop()
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            if docstring := ast.get_docstring(node):
                yield docstring
            inner = (ast.FunctionDef, ast.ClassDef)
            stack += [n for n in reversed(node.body) if isinstance(n, inner)]
        elif hasattr(node, "body") and isinstance(node.body, list):
            stack += reversed(node.body + getattr(node, "orelse", []))
        elif isinstance(node, (ast.Expr, ast.Assign, ast.AnnAssign)) and node.value is not None:
            nodes = list(ast.walk(node.value))
            pieces = {id(v) for n in nodes if isinstance(n, ast.JoinedStr) for v in n.values}
            for n in nodes:  # pieces of f-strings are not text
                string = n.value if isinstance(n, ast.Constant) and id(n) not in pieces else None
                if isinstance(string, str) and ("\n" in string or node.value is n):
                    yield inspect.cleandoc(string)


def docstring_blocks(docstring: str) -> list[dict]:
    """Paragraphs of prose of a docstring in numpydoc, Google or Sphinx form: section and text.

    A parameter's have `name` and `type`, too; the `section` is "" before the first heading.
    """
    lines = inspect.cleandoc(docstring).expandtabs().splitlines()
    blocks, paragraph = [], []
    section = name = kind = ""
    numpydoc = False  # whether the section is in numpydoc form
    base = 0  # indentation of the section's entries
    skip = None  # lines indented deeper than this are dropped
    in_doctest = in_fence = False

    def flush():
        text = clean(" ".join(paragraph))
        paragraph.clear()
        if section != "References" and is_prose(text):
            blocks.append({"section": section, "name": name, "type": kind, "text": text})

    for i, line in enumerate(lines):
        body = line.strip()
        indent = len(line) - len(line.lstrip())
        following = lines[i + 1] if i + 1 < len(lines) else ""
        if body.startswith("```"):
            flush()
            in_fence = not in_fence
        elif in_fence:
            continue
        elif not body:
            flush()
            in_doctest = False
        elif skip is not None and indent > skip:  # a literal block or directive
            continue
        elif body.startswith((">>>", "In [", "$ ", "... ")) or in_doctest:
            flush()
            in_doctest = True
        elif _UNDERLINE.match(line):  # of a heading, or a table's border
            paragraph.clear()
        elif _UNDERLINE.match(following) and body[-1].isalpha() and len(body) < 40:
            flush()  # a numpydoc heading
            section, name, kind = _HEADINGS.get(body.lower(), "Other"), "", ""
            numpydoc, base, skip = True, indent, None
        elif body.endswith(":") and body[:-1].lower() in _HEADINGS:
            flush()  # a Google heading
            section, name, kind = _HEADINGS[body[:-1].lower()], "", ""
            numpydoc, skip = False, None
            entry = next(filter(str.strip, lines[i + 1 :]), "")
            base = len(entry) - len(entry.lstrip())
        elif match := _DIRECTIVE.match(body):  # ".. note::"
            flush()
            if match[1] in _PROSE_DIRECTIVES:
                paragraph.append(match[2])
            else:
                skip = indent
        elif match := _FIELD.match(body):  # Sphinx: ":param int axis: ..."
            flush()
            section = _FIELDS[match[1][:3]]
            kind, _, name = match[2].rpartition(" ")
            paragraph.append(match[3])
            numpydoc, base = False, -1
        elif section in _ENTRIES and numpydoc and indent == base:
            flush()
            name, _, kind = (part.strip(" `*\\") for part in body.partition(":"))
            if section == "See Also":
                paragraph.append(kind)
                kind = ""
            elif section in ("Returns", "Raises") and not kind:
                name, kind = "", name
        elif section in _ENTRIES and indent == base and (match := _GOOGLE_ENTRY.match(body)):
            flush()
            name, kind = match[1], (match[2] or "").strip("`* ")
            if section == "Returns":
                name, kind = "", name
            paragraph.append(match[3] or "")
        else:
            skip = None
            if match := _BULLET.match(body):
                flush()
                body = match[1]
            paragraph.append(body)
            if body.endswith("::"):
                paragraph[-1], skip = body[:-1], indent
                flush()
    flush()
    return blocks
