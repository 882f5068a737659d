"""What a search for a batch size prints."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest

from tfrun.reports.batch_report import BatchReport


class Measured(NamedTuple):
    batch_size: int
    examples_per_second: float
    train_rows: int = 1000
    peak_bytes: int = 3 * 2**29
    mode: str = "graph_loop"

    @property
    def steps_per_second(self) -> float:
        return self.examples_per_second / self.batch_size


def report_of(speeds: dict[int, float], failed: tuple[int, ...] = (), **modes: Any) -> BatchReport:
    report = BatchReport()
    for size, speed in speeds.items():
        report.add(size, Measured(size, speed, mode=modes.get(f"size_{size}", "graph_loop")))
    for size in failed:
        report.add(size, None, why_not="it took too much")
    return report


def command(new: Any) -> str:
    return f"tfrun {new}"


def test_the_smallest_size_that_is_nearly_as_fast() -> None:
    report = report_of({256: 1000, 32: 500, 64: 910, 128: 950})
    assert report.fast is not None and report.fast.batch_size == 64
    assert [each.batch_size for each in report.fitting] == [32, 64, 128, 256]
    assert report_of({}).fast is None


def test_what_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    report = report_of({32: 500, 64: 950, 128: 1000}, failed=(256, 192))
    report.print_table()
    report.print_summary(command)
    out = capsys.readouterr().out
    assert [line.split() for line in out.splitlines()[:6]] == [
        ["batch", "size", "GiB", "steps/s", "examples/s"],
        ["32", "1.50", "15.62", "500"],
        ["64", "1.50", "14.84", "950"],
        ["128", "1.50", "7.812", "1,000"],
        ["192", "too", "much"],
        ["256", "too", "much"],
    ]
    assert "fits  128, the largest found; 192 does not: it took too much" in out
    assert "fast  64: larger batches train at most 5% more examples/s" in out
    assert out.endswith("\ntfrun {'data.batch_size': '128'}\n\ntfrun {'data.batch_size': '64'}\n")


def test_speed_that_still_grows(capsys: pytest.CaptureFixture[str]) -> None:
    report = report_of({32: 500, 64: 1000})
    report.is_limited_by_rows = True
    report.print_summary(command)
    out = capsys.readouterr().out
    assert "64, the largest found; all training rows" in out and "still grows" in out and out.count("tfrun {") == 1


def test_one_size_says_nothing_of_speed(capsys: pytest.CaptureFixture[str]) -> None:
    report_of({32: 500}, failed=(64,)).print_summary(command)
    out = capsys.readouterr().out
    assert "fits  32, the largest found; 64 does not" in out and "fast" not in out


def test_sizes_that_are_compiled_in_different_ways(capsys: pytest.CaptureFixture[str]) -> None:
    report_of({32: 500, 64: 1000, 128: 1200}, size_32="xla_loop").print_summary(command)
    assert "xla_loop from 32, graph_loop from 64" in capsys.readouterr().out
    report_of({32: 500, 64: 1000}).print_summary(command)
    assert "compiled" not in capsys.readouterr().out


def test_a_size_above_the_rows_counts_as_the_rows() -> None:
    report = BatchReport()
    report.add(2000, Measured(1000, 10.0))
    assert report.train_rows == 1000 and report.tries[0].batch_size == 1000


def test_nothing_was_tried(capsys: pytest.CaptureFixture[str]) -> None:
    BatchReport().print_table()
    assert capsys.readouterr().out == ""
