"""Random configs and data files: each is taken or refused in a line, and nothing else happens.

`TFRUN_FUZZ=100000 pytest tests/test_fuzz.py` runs for hours; the suite runs a few hundred of each.
"""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from tfrun import cli
from tfrun.components.datasets.csv import csv
from tfrun.components.datasets.npz import npz
from tfrun.config import schema
from tfrun.config.catalog import load_catalog
from tfrun.config.compose import open_configs
from tfrun.config.settings import config_keys
from tfrun.config.sources import Sources
from tfrun.data.fingerprint import fingerprint
from tfrun.data.preprocessing import fit
from tfrun.data.splitting.shuffled import Shuffled
from tfrun.errors import TfrunError

CASES = int(os.environ.get("TFRUN_FUZZ", "150"))
SEED = int(os.environ.get("TFRUN_FUZZ_SEED", "0"))
ODD = [
    *(
        "",
        "null",
        "true",
        "-1",
        "0",
        "1e999",
        "nan",
        "[",
        "{a: 1}",
        "[1,2",
        "${seed}",
        "${x}",
        "../..",
        "é",
        "\\0",
        "a b",
    ),
    *("'", '"', "%s", "?", "!!python/object:os.system", "~", "0x1F", "1_000", "12:30", "on", "9" * 40, "x" * 2000),
]


@pytest.fixture
def dice() -> random.Random:
    return random.Random(SEED)


def mutated(content: bytes, dice: random.Random) -> bytes:
    """Returns a file with a few bytes changed, dropped, doubled or put in."""
    data = bytearray(content)
    for _ in range(dice.randint(1, 6)):
        place, kind = dice.randrange(len(data) + 1), dice.randrange(5)
        if kind == 0 and place < len(data):
            data[place] = dice.randrange(256)
        elif kind == 1:
            del data[place : place + dice.randint(1, 20)]
        elif kind == 2:
            data[place:place] = data[place : place + dice.randint(1, 50)]
        elif kind == 3:
            data[place:place] = dice.choice(ODD).encode()
        else:
            data[place:place] = bytes([dice.choice(b",;\t\n\r\"'.-0eE \xef\xbb\xbf\x00")])
        if not data:
            return b"a"
    return bytes(data)


def test_overrides(dice: random.Random, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    keys = [
        *config_keys(),
        "model",
        "loss",
        "loss.delta",
        "metric",
        "optimizer.groups.deep.name",
        "optimizer",
        "x",
        "hydra.x",
    ]
    before = dict(os.environ)
    with open_configs([]) as hydra:
        for _ in range(CASES):
            words = [f"{dice.choice(['', '', '+', '++', '~'])}{dice.choice(keys)}={dice.choice(ODD)}" for _ in range(2)]
            try:
                schema.build_settings(hydra.compose(words).config, hydra.catalog, overrides=words)
            except TfrunError as error:
                assert error.exit_code in (2, 3, 5), words
                assert str(error), words
    assert dict(os.environ) == before
    assert list(tmp_path.iterdir()) == []


def test_yaml_files(dice: random.Random, tmp_path: Path) -> None:
    with open_configs([]) as hydra:
        whole = yaml.safe_dump(hydra.compose([]).config, sort_keys=False).encode()
    for _ in range(CASES // 10):
        (tmp_path / "own.yaml").write_bytes(mutated(whole, dice))
        try:
            with open_configs([], Sources("own", str(tmp_path))) as hydra:
                schema.build_settings(hydra.compose([]).config, hydra.catalog)
        except TfrunError as error:
            assert error.exit_code in (2, 3), (tmp_path / "own.yaml").read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["own.yaml"]


def taken(table: Any) -> None:
    """What training would do first with a table that was read."""
    num_held_out = len(table.target) // 5
    cut = Shuffled().cut(np.arange(len(table.target)), [num_held_out], np.random.default_rng(0))
    fit(table, cut.rows[-1], scale_target=True)
    fingerprint(table)


def test_csv_files(dice: random.Random, tmp_path: Path) -> None:
    rows = [f"{k},{k / 7:.3f},{'red' if k % 3 else 'blue'},{k * k}" for k in range(30)]
    whole, path = "\n".join(["a,b,kind,y", *rows]).encode(), tmp_path / "rows.csv"
    read = 0
    for _ in range(4 * CASES):
        path.write_bytes(mutated(whole, dice))
        try:
            taken(csv(str(path), "y"))
            read += 1
        except TfrunError as error:
            assert error.exit_code in (3, 5), path.read_bytes()
    assert read > CASES // 10  # not every change is a fault


def test_npz_files(dice: random.Random, tmp_path: Path) -> None:
    path = tmp_path / "rows.npz"
    random_numbers = np.random.default_rng(SEED)
    for save in (np.savez, np.savez_compressed):
        save(path, x=random_numbers.normal(size=(20, 3)), y=random_numbers.integers(0, 3, 20))
        whole = path.read_bytes()
        for _ in range(2 * CASES):
            path.write_bytes(mutated(whole, dice))
            try:
                taken(npz(str(path)))
            except TfrunError as error:
                assert error.exit_code in (3, 5), path.read_bytes()


@pytest.mark.parametrize(
    "word", ["model._target_=os.system", "+model._target_=os.system", "loss={_target_: os.system}"]
)
def test_a_config_names_no_code(word: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main([word]) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_what_the_environment_holds_stays_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run's files show what the config was made to, and of the environment only what it asks for by name."""
    monkeypatch.setenv("MY_SECRET", "hunter2")
    monkeypatch.chdir(tmp_path)
    assert cli.main(["debug=fast", "trainer.compile=graph", "tags=[quiet]"]) == 0
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or b"hunter2" not in path.read_bytes(), path


def test_the_catalog_runs_no_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "evil.py").write_text(
        f"open({str(tmp_path / 'ran')!r}, 'w')\n@register.loss('evil')\ndef evil(y_true, y_pred): ..."
    )
    monkeypatch.chdir(tmp_path)
    assert "evil" in load_catalog(["evil"]).names("loss")
    assert not (tmp_path / "ran").exists()
