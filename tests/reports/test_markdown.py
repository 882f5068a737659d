"""Markdown shows a text as it is, whatever it holds."""

from __future__ import annotations

import html
import re

import pytest
from markdown_it import MarkdownIt

from tfrun.reports.markdown import code_block, escaped, table


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a|b", "a|b"),
        ("x`y`", "x`y`"),
        ("<b>h</b>", "<b>h</b>"),
        ("&amp;", "&amp;"),
        ("*a* _b_ __c__", "*a* _b_ __c__"),
        ("[a](b)", "[a](b)"),
        ("back\\|slash", "back\\|slash"),
        ("two\nlines", "two\\nlines"),
        ("a\u202eb", "a\\u202eb"),
        (" a", '" a"'),
        ("", '""'),
        ("a_b", "a_b"),
    ],
)
def test_a_cell_shows_the_text(text: str, shown: str) -> None:
    rendered = MarkdownIt("commonmark").enable("table").render(table(["name", "n"], [[escaped(text), "1"]]))
    cells = re.findall(r"<td>(.*?)</td>", rendered, re.DOTALL)
    assert [html.unescape(cell) for cell in cells] == [shown, "1"] and "<" not in cells[0]


def test_nothing_in_code_ends_it() -> None:
    code = "a\n```\nb"
    (token,) = MarkdownIt().parse(code_block(code, "python"))
    assert (token.content, token.info) == (code + "\n", "python")
