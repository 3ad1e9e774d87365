"""dwt/data/docstrings.py: what of a docstring is prose, and what is dropped."""

import pytest

from dwt.data.docstrings import docstring_blocks, docstrings
from dwt.data.sentences import is_prose

PROSE = "The quick method returns the sum of the values."


def test_numpydoc_entries_keep_name_type_and_section():
    blocks = docstring_blocks(
        """Sum of the values in an array.

        Parameters
        ----------
        values : array_like, optional
            The numbers that are to be added.

            They may have any shape at all.
        axis, keep : int
            Along which axis the sum is taken.

        Returns
        -------
        float
            The sum of all the values.

        See Also
        --------
        mean : The mean of all the values.
        """
    )
    assert [tuple(b.values()) for b in blocks] == [
        ("", "", "", "Sum of the values in an array."),
        ("Parameters", "values", "array_like, optional", "The numbers that are to be added."),
        ("Parameters", "values", "array_like, optional", "They may have any shape at all."),
        ("Parameters", "axis, keep", "int", "Along which axis the sum is taken."),
        ("Returns", "", "float", "The sum of all the values."),
        ("See Also", "mean", "", "The mean of all the values."),
    ]


def test_google_and_sphinx_entries_keep_name_and_type():
    google = docstring_blocks(
        """Add all of the numbers.

        Args:
            values (`torch.Tensor`, *optional*):
                The numbers that are to be
                added to each other.
            axis (int): Along which axis the sum is taken.

        Returns:
            float: The sum of all the values.
        """
    )
    assert [(b["section"], b["name"], b["text"]) for b in google] == [
        ("", "", "Add all of the numbers."),
        ("Parameters", "values", "The numbers that are to be added to each other."),
        ("Parameters", "axis", "Along which axis the sum is taken."),
        ("Returns", "", "The sum of all the values."),
    ]
    assert google[1]["type"].startswith("torch.Tensor") and google[2]["type"] == "int"
    sphinx = docstring_blocks(
        "Add all of the numbers.\n\n:param int axis: Along which axis the sum is taken."
    )
    assert (sphinx[1]["name"], sphinx[1]["type"]) == ("axis", "int")


@pytest.mark.parametrize(
    "junk",
    [
        ">>> the_sum = add(the, values)\nThe sum of the values is printed here.",
        "```python\nThe code in the fence is not a text.\n```",
        ".. math::\n\n    The sum of the values is not a text here.",
        ".. code-block:: python\n    :linenos:\n\n    The code in the block is not a text.",
        "====== =======\nThe name of the column\n====== =======",
        "| The cell | of the table | is in a row |",
        r"The value :math:`\sum_i x_i` is the sum of the values.",
        "x = f(a, b, c) + g(d, e) * 3",
        "References\n----------\nThe author of the book, The title of the book, 1999.",
    ],
)  # fmt: skip
def test_code_tables_mathematics_and_references_are_dropped(junk):
    assert [b["text"] for b in docstring_blocks(f"{PROSE}\n\n{junk}")] == [PROSE]


def test_a_literal_block_ends_where_its_indentation_ends():
    blocks = docstring_blocks(
        f"An example of the method follows::\n\n    the code of the example\n\n{PROSE}"
    )
    assert [b["text"] for b in blocks] == ["An example of the method follows:", PROSE]


def test_markup_is_removed_from_prose():
    text = (
        "Use :func:`~numpy.sum` or ``mean`` of the *array*, "
        "see `the guide <https://x.org>`_ and [`Model`] [1]_."
    )
    assert (
        docstring_blocks(text)[0]["text"]
        == "Use sum or mean of the array, see the guide and Model."
    )


def test_notes_in_a_directive_are_prose_and_version_remarks_are_not():
    note = f".. note::\n    {PROSE}\n\n"
    text = note + ".. versionadded:: 1.2\n    It is new in the version of the package."
    assert [b["text"] for b in docstring_blocks(text)] == [PROSE]


def test_prose_needs_words_letters_and_stop_words():
    assert is_prose(PROSE)
    assert not is_prose("Too short it")
    assert not is_prose("lorem ipsum dolor amet consectetur")
    assert not is_prose("1.0 2.0 3.0 of the 4.0 5.0")


def test_strings_assembled_by_code_are_not_documents():
    template = 'x = f"""{a} The text of the template is\nnot a document."""\n'
    string = 'y = """The text of the string is\na document."""\n'
    assert list(docstrings((template + string).encode())) == [string[7:-4]]
