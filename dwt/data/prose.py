"""What in a Python source file is English prose? The paragraphs of its docstrings, cleaned."""

import ast
import inspect
import re
import warnings

_HEADINGS = {
    alias: section
    for section, aliases in {
        "Parameters": "parameters,other parameters,args,arguments,params,inputs,keyword args,"
        "keyword arguments",
        "Attributes": "attributes",
        "Returns": "returns,return,yields,outputs",
        "Raises": "raises,warns",
        "See Also": "see also",
        "Notes": "notes,note,warnings,warning",
        "Examples": "examples,example",
        "Methods": "methods",
        "References": "references",
        "Other": "shape",
    }.items()
    for alias in aliases.split(",")
}
_ITEMISED = {"Parameters", "Attributes", "Returns", "Raises", "See Also", "Methods"}
_PROSE_DIRECTIVES = {"note", "warning", "tip", "important", "caution", "hint", "attention"}
_RULE = re.compile(r"\s*([-=~^]{3,})\s*$")
_BULLET = re.compile(r"(?:[-*+•]|\(?\w[.)]|\d+[.)])\s+(.*)")
_DIRECTIVE = re.compile(r"\.\. +(?:([\w-]+):: *(.*)|.*)")
_GOOGLE_ITEM = re.compile(
    r"[*`-]* ?`?([A-Za-z_][\w.]*(?:, *[\w*]+)*)`* *(?:\((.*?)\))?`? *:(?: +(.*)|$)"
)
_FIELD = re.compile(r":(param|parameter|arg|returns?|raises?) ?([^:]*): *(.*)")


def docstrings(code):
    """Docstrings, and multi-line strings outside functions: libraries attach those too."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SyntaxWarning)
        try:
            stack = [ast.parse(code)]
        except (SyntaxError, ValueError):  # a template, or another Python's syntax
            return
    while stack:
        node = stack.pop()
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            docstring = ast.get_docstring(node)
            if docstring:
                yield docstring
            stack += [
                n for n in reversed(node.body) if isinstance(n, (ast.FunctionDef, ast.ClassDef))
            ]
        elif hasattr(node, "body") and isinstance(node.body, list):
            stack += [n for n in reversed(node.body + getattr(node, "orelse", []))]
        elif isinstance(node, (ast.Expr, ast.Assign, ast.AnnAssign)) and node.value is not None:
            formatted = {
                id(v)
                for n in ast.walk(node.value)
                if isinstance(n, ast.JoinedStr)
                for v in n.values
            }
            for n in ast.walk(node.value):
                string = n.value if isinstance(n, ast.Constant) and id(n) not in formatted else None
                if isinstance(string, str) and ("\n" in string or node.value is n):
                    yield inspect.cleandoc(string)


def docstring_blocks(docstring):
    """English paragraphs of one docstring, in numpydoc, Google or Sphinx form.

    Returns a list of dicts: `text`, the `section` it stands in ("" before the first heading), and
    for an entry of a list its `name` and declared `type`. Code, tables, doctests, mathematics and
    references are dropped.
    """
    lines = inspect.cleandoc(docstring).expandtabs().splitlines()
    blocks, paragraph = [], []
    section = name = kind = ""
    numpydoc, base = (
        False,
        0,
    )  # form of the section; indentation of its heading (numpydoc) or entries
    skip = None  # drop lines that are indented deeper than this
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
        elif skip is not None and indent > skip:
            continue
        elif body.startswith((">>>", "In [", "$ ", "... ")) or in_doctest:
            flush()
            in_doctest = True
        elif _RULE.match(line):
            paragraph.clear()
        elif _RULE.match(following) and body[-1].isalpha() and len(body) < 40:
            flush()
            section, name, kind = _HEADINGS.get(body.lower(), "Other"), "", ""
            numpydoc, base, skip = True, indent, None
        elif body.endswith(":") and body[:-1].lower() in _HEADINGS:
            flush()
            section, name, kind = _HEADINGS[body[:-1].lower()], "", ""
            numpydoc, skip = False, None
            entry = next(filter(str.strip, lines[i + 1 :]), "")
            base = len(entry) - len(entry.lstrip())
        elif match := _DIRECTIVE.match(body):
            flush()
            if match[1] in _PROSE_DIRECTIVES:
                paragraph.append(match[2])
            else:
                skip = indent
        elif match := _FIELD.match(body):
            flush()
            section = {"p": "Parameters", "a": "Parameters", "r": "Returns"}[match[1][0]]
            kind, _, name = match[2].rpartition(" ")
            section = "Raises" if match[1].startswith("raise") else section
            paragraph.append(match[3])
            numpydoc, base = False, -1
        elif section in _ITEMISED and numpydoc and indent == base:
            flush()
            name, _, kind = (part.strip(" `*\\") for part in body.partition(":"))
            if section == "See Also":
                paragraph.append(kind)
                kind = ""
            elif section in ("Returns", "Raises") and not kind:
                name, kind = "", name
        elif (
            section in _ITEMISED
            and not numpydoc
            and indent == base
            and (match := _GOOGLE_ITEM.match(body))
        ):
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
            if body.endswith("::"):
                body, skip = body[:-1], indent
            paragraph.append(body)
            if skip is not None:
                flush()
    flush()
    return blocks


_MARKUP = [
    (re.compile(r"`([^`<]*?)\s*<[^`>]*>`__?"), r"\1"),  # `text <address>`_
    (re.compile(r"\[([^\[\]]*)\]\([^()]*\)"), r"\1"),  # [text](address)
    (re.compile(r":[\w:+-]+:`~[\w.]*?(\w+)`"), r"\1"),  # :func:`~numpy.sum`
    (re.compile(r":[\w:+-]+:`[!.]?([^`]*)`"), r"\1"),  # :func:`sum`
    (re.compile(r"\s*\[[\w#*-]+\]_"), ""),  # footnote [1]_
    (re.compile(r"\[(`[^`]*`)\]"), r"\1"),  # [`BertModel`]
    (re.compile(r"`+([^`]*)`+_{0,2}"), r"\1"),
    (re.compile(r"(?<!\w)(\*{1,2})(?=\S)([^*]+?)(?<=\S)\1(?!\w)"), r"\2"),
    (re.compile(r"\s+"), " "),
]
_GARBAGE = re.compile(
    r"[{}\\|@$^<>#~]|://|%[(sdr]|==|->|\w\(.*?[=,].*?\)|[\w)\]] ?[=/*+] ?[\w(\[]\S*[=(\[*+]"
)
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z\"'(])")
_STOPWORDS = frozenset(
    (
        "a an the of to in is are be for and or if by on with that this it as from not will at "
        "which can has have was when used should its each then than all any no only"
    ).split()
)


def clean(text):
    """Markup away, sentences with code or mathematics in them away, one space between words."""
    for pattern, replacement in _MARKUP:
        text = pattern.sub(replacement, text)
    return " ".join(s for s in sentences(text) if not _GARBAGE.search(s)).strip()


def sentences(text):
    """A paragraph cut after full stops that a capital follows."""
    return _SENTENCE_END.split(text.strip())


def is_prose(text):
    """Whether a paragraph reads as English: enough words, mostly letters, some stop words."""
    words = text.split()
    if len(words) < 4:
        return False
    letters = sum(c.isalpha() and c.isascii() for c in text) / sum(map(len, words))
    plain = sum(w.strip("\"'(),.:;!?").replace("-", "").isalpha() for w in words) / len(words)
    stop = sum(w.lower().strip(".,;:()") in _STOPWORDS for w in words) / len(words)
    return letters > 0.85 and plain > 0.7 and stop > 0.1


def letters_of(text):
    """Lower-case letters only: what two paragraphs that say the same have in common."""
    return re.sub(r"[\W\d_]+", "", text.lower())
