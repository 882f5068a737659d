"""Reads README.md and the pages of docs/ as a person does who types what they show, from top to bottom.

An indented or fenced block is one of these:

    tfrun model=mlp            commands; a backslash, or an open quote, continues a line; ` # …` is a comment
    $ tfrun los=huber          a command with what it prints below it; … stands for any text
    tfrun: error: los: …
    # my_conf/model/small.yaml a file, if its name is the first line, or ends the paragraph before: "…, `mine.py`:"

and a cell of a table may have a command that trains, `tfrun data=csv …`. Other commands in a cell are only named.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

Kind = Literal["command", "shell", "python", "file"]
FENCE = re.compile(r"^```(\w*)$")
FILE_COMMENT = re.compile(r"^# ([\w./-]+\.(?:yaml|py))(?:, found with .*)?$")
FILE_BEFORE = re.compile(r"`([\w./-]+\.(?:yaml|py))`:$")
IN_A_CELL = re.compile(r"`(tfrun (?:-m |[^` ]+=)[^`]*)`")
TFRUN = re.compile(r"^(?:\./scripts/)?tfrun (?=\S)")
# of a block with commands: other programs that a person types there
PROGRAMS = r"cd|mkdir|mv|cp|export|git|\./scripts/\S+|\.venv/\S+|tensorboard|npm|pip|python\S*|uv"
SHELL = re.compile(rf"^(?:{PROGRAMS}) ?(?=\S|$)")


@dataclass
class Step:
    """Something that a page asks its reader to do.

    Attributes:
        page: the page's path in the checkout.
        line: the number of the line at which it begins.
        kind: `command` of tfrun, `shell` for another program, `python` for code, `file` for a file to write.
        text: the words after `tfrun`; the line, the code or the file's contents.
        path: of a file, its path.
        prints: what the page shows below a command.
    """

    page: str
    line: int
    kind: Kind
    text: str
    path: str = ""
    prints: list[str] = field(default_factory=list)

    @property
    def words(self) -> list[str]:
        return shlex.split(self.text)

    def __str__(self) -> str:
        return f"{self.page}:{self.line}: {'tfrun ' if self.kind == 'command' else ''}{self.text.splitlines()[0]}"


def read_page(root: Path, page: str) -> list[Step]:
    """Returns what a page asks its reader to do, in order."""
    steps: list[Step] = []
    for line, language, before, block in _blocks((root / page).read_text().splitlines()):
        text = "\n".join(block).rstrip() + "\n"
        name = FILE_COMMENT.match(block[0]) or FILE_BEFORE.search(before)
        if language == "cell":
            steps.append(Step(page, line, "command", block[0].removeprefix("tfrun ")))
        elif name:
            steps.append(Step(page, line, "file", text, path=name[1]))
        elif language == "python":
            steps.append(Step(page, line, "python", text))
        elif language in ("", "sh", "shell", "bash", "console"):
            steps += _commands(page, line, block)
    return steps


def _blocks(lines: list[str]) -> Iterator[tuple[int, str, str, list[str]]]:
    """Yields (line number, language, the line of text before it, its lines) of each block and command in a cell."""
    at, before = 0, ""
    while at < len(lines):
        line, start = lines[at], at + 1
        at += 1
        if fence := FENCE.match(line):
            end = lines.index("```", at)
            if block := lines[at:end]:
                yield start + 1, fence[1], before, block
            at = end + 1
        elif line.startswith("    ") and (start == 1 or not lines[start - 2].strip()):
            while at < len(lines) and (lines[at].startswith("    ") or not lines[at].strip()):
                at += 1
            yield start, "", before, [text[4:] for text in lines[start - 1 : at]]
        elif line.startswith("|"):
            for command in IN_A_CELL.findall(line):
                yield start, "cell", "", [command]
        if line.strip():
            before = line


def _commands(page: str, line: int, block: list[str]) -> list[Step]:
    """Returns the commands of a block, with what is printed below those that have a `$`."""
    steps: list[Step] = []
    is_session = any(text.startswith("$ ") for text in block)
    at = 0
    while at < len(block):
        start, text = at, block[at]
        at += 1
        if is_session and not text.startswith("$ "):
            if steps and text.strip():
                steps[-1].prints.append(text)
            continue
        text = text.removeprefix("$ ")
        if not (TFRUN.match(text) or SHELL.match(text)):
            continue
        while (text.endswith("\\") or _is_open(text)) and at < len(block):
            text = text.removesuffix("\\").rstrip() + " " + block[at].strip()
            at += 1
        text = _without_comment(text)
        kind: Kind = "command" if TFRUN.match(text) else "shell"
        steps.append(Step(page, line + start, kind, TFRUN.sub("", text)))
    return steps


def _without_comment(text: str) -> str:
    lexer = shlex.shlex(text, posix=False, punctuation_chars=False)
    lexer.whitespace_split, lexer.commenters = True, ""
    words = list(lexer)
    end = next((k for k, word in enumerate(words) if word.startswith("#")), len(words))
    return " ".join(words[:end])


def _is_open(text: str) -> bool:
    """Returns whether a quote of the line isn't closed on it."""
    try:
        shlex.split(text.partition(" # ")[0])
    except ValueError:
        return True
    return False
