"""A bar on a terminal; elsewhere few lines, each of them worth reading."""

import io
import re

import pytest
from rich.console import Console

from omlx.downloads.console import DownloadConsole
from omlx.downloads.progress import Progress


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def show(*steps, terminal, width=120, name="org/m"):
    file, clock = io.StringIO(), Clock()
    with DownloadConsole(name, Console(file=file, force_terminal=terminal, width=width), clock) as console:
        for step in steps:
            if isinstance(step, Progress):
                console.progress(step)
            elif isinstance(step, str):
                console.trouble(step)
            else:
                clock.now += step
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", file.getvalue())


BEGIN = Progress(0, 4_000_000_000, 0, 12)
LATER = Progress(1_000_000_000, 4_000_000_000, 7, 12, 10_000_000, 300)
END = Progress(4_000_000_000, 4_000_000_000, 12, 12, 10_000_000, 0)


def test_without_a_terminal_a_line_at_the_start_and_one_a_minute():
    assert show(BEGIN, 1, LATER, 1, LATER, 60, LATER, 1, END, terminal=False) == (
        "Downloading org/m: 12 files, 4.0 GB\norg/m: 25 %, 1.0/4.0 GB  7/12 files  10.0 MB/s  5:00 left\n"
    )


def test_what_is_here_already_is_said():
    assert show(LATER, terminal=False) == "Downloading org/m: 12 files, 4.0 GB, of which 1.0 GB are here\n"


def test_troubles_are_lines_as_they_are_even_if_they_look_like_markup():
    assert show(BEGIN, "[red]a.json: cut; it goes on in 1 s", terminal=False).endswith("[red]a.json: cut; it goes on in 1 s\n")
    assert "cut; it goes on in 1 s" in show(BEGIN, "cut; it goes on in 1 s", terminal=True)


def test_on_a_terminal_the_bar_has_bytes_files_speed_and_time_left():
    shown = show(BEGIN, LATER, terminal=True)
    for words in ("m ━", "25%", "1.0/4.0 GB", "7/12 files", "10.0 MB/s", "5:00"):
        assert words in shown


def test_a_finished_bar_is_full_and_has_no_time_left():
    last = show(BEGIN, LATER, END, terminal=True).rpartition("4.0/4.0 GB")
    assert "100%" in last[0]
    assert last[2].split("\n")[0].split() == ["12/12", "files", "10.0", "MB/s"]


@pytest.mark.parametrize("width", [50, 60, 80, 100, 200])
def test_however_narrow_the_terminal_the_numbers_are_there_on_one_line(width):
    big = Progress(101_000_000_000, 272_300_000_000, 17, 112, 110_000_000, 36000)
    shown = show(big, terminal=True, width=width, name="org/Qwen3-Coder-480B-A35B-Instruct-4bit")
    lines = shown.split("\r")
    assert lines[-1].rstrip("\n").endswith("10:00:00")
    assert [word for word in ("Qwen3", " 37% ", "101.0/272.3 GB", "110.0 MB/s") if word not in lines[-1]] == []
    assert ("━" in lines[-1], "17/112 files" in lines[-1]) == (width >= 60, width >= 100)


def test_hours_are_hours():
    assert "1:01:05" in show(BEGIN, Progress(1, 100, 0, 1, 1.0, 3665.2), terminal=True)


def test_empty_files_alone_are_a_full_bar():
    assert "100%" in show(Progress(0, 0, 1, 1), terminal=True)
