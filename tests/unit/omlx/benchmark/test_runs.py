"""Runs are kept as they were, the newest first, so many of them."""

import json
import logging
import re
from dataclasses import replace

import pytest

from omlx.benchmark.plan import Plan, Size
from omlx.benchmark.run import Cell, Figures, Run, State
from omlx.benchmark.runs import Runs, new_id

FIGURES = Figures(*(float(number) for number in range(1, 9)))
FASTER = Figures(*(float(number) for number in range(3, 11)))
RUN = Run(
    run_id="20261127T201500-00ff00",
    state=State.DONE,
    model={"id": "org/tiny", "revision": "r1", "quantization": None, "architecture": "llama", "size_bytes": 7},
    plan=Plan((128,), (1, 4), 8, 2),
    started=1.5,
    ended=3.5,
    machine={"cpu": "a", "cores": 2},
    cells=(Cell.of(Size(128, 1), [FIGURES, FASTER]), Cell(Size(128, 4), error="too much")),
    other_requests=2,
)


def named(number):
    return replace(RUN, run_id=f"20261127T2015{number:02}-00ff00")


def test_a_run_is_read_as_it_was_kept(tmp_path):
    runs = Runs(tmp_path / "benchmarks")
    assert runs.read() == {}
    runs.keep(RUN)
    assert Runs(tmp_path / "benchmarks").read() == {RUN.run_id: RUN}
    assert RUN.cells[0].figures == Figures(*(float(number) for number in range(2, 10)))


def test_names_of_runs_are_in_the_order_of_time():
    first, second = new_id(1_795_780_000.9), new_id(1_795_780_001.0)
    assert re.fullmatch(r"20261127T\d{6}-[0-9a-f]{6}", first)
    assert first[:15] < second[:15]
    assert new_id(1.0) != new_id(1.0)


def test_the_newest_are_kept_and_come_first(tmp_path):
    runs = Runs(tmp_path, most=3)
    (tmp_path / "notes.json").write_text("mine")
    for number in (4, 1, 3, 2, 5):
        runs.keep(named(number))
    assert list(runs.read()) == [named(number).run_id for number in (5, 4, 3)]
    assert (tmp_path / "notes.json").read_text() == "mine"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "{}",
        json.dumps({**RUN.document(), "state": "asleep"}),
        json.dumps({**RUN.document(), "state": "running", "ended": None}),
        json.dumps({**RUN.document(), "cells": 3}),
        json.dumps({**RUN.document(), "cells": [{"length": 1}]}),
        json.dumps({**RUN.document(), "model": []}),
        json.dumps({**RUN.document(), "id": "../../etc"}),
        json.dumps(RUN.document()).replace("8.0", "NaN"),
    ],
)
def test_a_file_that_is_broken_is_left_out_and_named(tmp_path, caplog, text):
    runs = Runs(tmp_path)
    runs.keep(named(2))
    broken = tmp_path / f"{named(1).run_id}.json"
    broken.write_text(text)
    with caplog.at_level(logging.WARNING):
        assert list(runs.read()) == [named(2).run_id]
    assert str(broken) in caplog.text
    assert broken.exists()


@pytest.mark.parametrize("run_id", ["../secret", "..", "", "a/b", "20261127T201500-00FF00", "20261127T201500-00ff00/../x", "x\0"])
def test_an_id_is_never_a_path(tmp_path, run_id):
    secret = tmp_path / "secret.json"
    secret.write_text("{}")
    runs = Runs(tmp_path / "benchmarks")
    runs.keep(RUN)
    with pytest.raises(ValueError):
        runs.remove(run_id)
    with pytest.raises(ValueError):
        runs.keep(replace(RUN, run_id=run_id))
    assert secret.exists()
    runs.remove(RUN.run_id)
    runs.remove(RUN.run_id)
    assert runs.read() == {}
