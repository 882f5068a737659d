"""YAML files as people and programs write them: encodings, byte-order marks, aliases, and what is no file."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from tfrun.config.compose import open_configs
from tfrun.config.sources import Sources
from tfrun.errors import ConfigError
from tfrun.files import yaml_files

BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{k}: &a{k} [{', '.join([f'*a{k - 1}'] * 10)}]\n" for k in range(1, 9)
)


@pytest.mark.parametrize(
    ("text", "content"),
    [
        ("a: 1e-3\n", {"a": 0.001}),
        ("a: &x {b: 1}\nc: *x\nd: {<<: *x, e: null}\n", {"a": {"b": 1}, "c": {"b": 1}, "d": {"b": 1, "e": None}}),
        ("\ufeff# größe\na: é\n", {"a": "é"}),
        ("a: 2026-11-28\n", {"a": "2026-11-28"}),
        (f"a: [{'x, ' * 5_000}x]\n", {"a": ["x"] * 5_001}),
    ],
    ids=["number", "aliases", "mark", "date", "long"],
)
def test_files_in_ordinary_use(text: str, content: object, tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(text, encoding="utf-8")
    assert yaml_files.load_config(file) == content


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (BOMB.encode(), "a.yaml:5: too large: its aliases stand for more than 100,000 nodes"),
        (b"a: &a {b: *a}\n", r"a.yaml:1: the alias \*a contains itself"),
        (b"a:\n " + b"[" * 100_000, "a.yaml:2: more than 100 levels of YAML"),
        (b"# ok\nname: gr\xf6\xdfe\n", "a.yaml: a YAML file must be in UTF-8. Received: the byte 0xf6 at offset 13.$"),
        ("name: x\n".encode("utf-16"), "the byte 0xff at offset 0. It looks like UTF-16."),
        ("name: x\n".encode("utf-16-le"), "the byte 0x00 at offset 1. It looks like UTF-16."),
        (b"# " + b"x" * 10 * 2**20, "at most 10,485,760 bytes"),
    ],
    ids=["bomb", "circle", "deep", "latin-1", "utf-16", "utf-16-le", "bytes"],
)
def test_files_that_are_refused(content: bytes, message: str, tmp_path: Path) -> None:
    file, began = tmp_path / "a.yaml", time.process_time()
    file.write_bytes(content)
    with pytest.raises(ConfigError, match=message) as error:
        yaml_files.load(file)
    assert "\n" not in str(error.value) and time.process_time() - began < 1


def test_what_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    with pytest.raises(ConfigError, match="pipe.yaml: not a file"):
        yaml_files.load(tmp_path / "pipe.yaml")
    with pytest.raises(ConfigError, match="none.yaml: can't be read: No such file"):
        yaml_files.load(tmp_path / "none.yaml")


@pytest.mark.parametrize(
    ("text", "content"),
    [
        ("a: 1\nb:\n  c: [2, x]\n", {"a": 1, "b": {"c": [2, "x"]}}),
        ("# note\na:\n- 1\n- b: 2\nb:\n", {"a": [1, {"b": 2}], "b": None}),
        ("a: 1\ntwo words: 2\na: 3\n", {"a": 3, "two words": 2}),
        ("a: |\n  b: 1\n\nc: .*\n", {"a": "b: 1\n", "c": ".*"}),
        ('a: "x\nb: y"\n', {"a": "x b: y"}),  # a quote that goes over a line that looks like a key
        ("a: {\nb: 1}\n", {"a": {"b": 1}}),
        ("a: &x [1]\nb: *x\n", {"a": [1], "b": [1]}),
        ("- 1\n", [1]),
        ("", None),
    ],
)
def test_files_with_sections_in_common_are_read_like_others(text: str, content: object, tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(text)
    assert yaml_files.load_similar(tmp_path / "c.yaml", {}) == content


def test_a_section_that_files_have_in_common_is_parsed_once(tmp_path: Path) -> None:
    (tmp_path / "1.yaml").write_text("a:\n  b: 1\nc: 2\n")
    (tmp_path / "2.yaml").write_text("a:\n  b: 1\nc: 3\n")
    sections: dict[str, Any] = {}
    one, other = (yaml_files.load_similar(tmp_path / name, sections) for name in ("1.yaml", "2.yaml"))
    assert (one["c"], other["c"]) == (2, 3) and one["a"] is other["a"]


@pytest.mark.parametrize(("text", "says"), [("a: [1\nb: 2\n", "c.yaml"), (BOMB, "too large"), ("a: *b\n", "alias")])
def test_a_file_of_sections_is_refused_like_others(text: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises((ConfigError, yaml.YAMLError), match=says):
        yaml_files.load_similar(tmp_path / "c.yaml", {})


def write_experiment(folder: Path, content: bytes) -> Sources:
    (folder / "experiment").mkdir()
    (folder / "experiment" / "t.yaml").write_bytes(content)
    return Sources(config_dir=str(folder))


def test_hydra_reads_files_in_the_same_way(tmp_path: Path) -> None:
    """With a byte-order mark, as Windows' editors write it, before the line that says which package it is."""
    sources = write_experiment(tmp_path, b"\xef\xbb\xbf# @package _global_\nname: \xc3\xa9\n")
    with open_configs(["experiment=t"], sources) as configs:
        assert configs.load("experiment", "t") == {"name": "é"}
        assert str(configs.compose(["experiment=t", "name=e"]).config["name"]) == "e"


@pytest.mark.parametrize("content", [f"# @package _global_\n{BOMB}".encode(), b"name: \xf6\n"], ids=["bomb", "latin-1"])
def test_hydra_is_given_no_file_that_is_refused(content: bytes, tmp_path: Path) -> None:
    sources, began = write_experiment(tmp_path, content), time.process_time()
    with pytest.raises(ConfigError, match=r"experiment/t\.yaml:"), open_configs(["experiment=t"], sources) as configs:
        configs.compose(["experiment=t"])
    assert time.process_time() - began < 5
