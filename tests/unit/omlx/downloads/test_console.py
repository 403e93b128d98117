"""A bar on a terminal; elsewhere few lines, each of them worth reading."""

import io

from rich.console import Console

from omlx.downloads.console import DownloadConsole
from omlx.downloads.progress import Progress


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def show(*steps, terminal, width=120):
    file, clock = io.StringIO(), Clock()
    with DownloadConsole("org/m", Console(file=file, force_terminal=terminal, width=width), clock) as console:
        for step in steps:
            if isinstance(step, Progress):
                console.progress(step)
            elif isinstance(step, str):
                console.trouble(step)
            else:
                clock.now += step
    return file.getvalue()


BEGIN = Progress(0, 4_000_000_000, 0, 12)
LATER = Progress(1_000_000_000, 4_000_000_000, 7, 12, 10_000_000, 300)
END = Progress(4_000_000_000, 4_000_000_000, 12, 12, 10_000_000, 0)


def test_without_a_terminal_a_line_at_the_start_and_one_a_minute():
    assert show(BEGIN, 1, LATER, 1, LATER, 60, LATER, 1, END, terminal=False) == (
        "Downloading org/m: 12 files, 4.0 GB\norg/m: 25 %, 1.0 GB of 4.0 GB, 7 of 12 files, 10.0 MB/s, 5:00 left\n"
    )


def test_what_is_here_already_is_said():
    assert show(LATER, terminal=False) == "Downloading org/m: 12 files, 4.0 GB, of which 1.0 GB are here\n"


def test_troubles_are_lines_as_they_are_even_if_they_look_like_markup():
    assert show(BEGIN, "[red]a.json: cut; it goes on in 1 s", terminal=False).endswith("[red]a.json: cut; it goes on in 1 s\n")
    assert "cut; it goes on in 1 s" in show(BEGIN, "cut; it goes on in 1 s", terminal=True)


def test_on_a_terminal_the_bar_has_bytes_files_speed_and_time_left():
    shown = show(BEGIN, LATER, terminal=True)
    for words in ("org/m", "25%", "1.0 GB of 4.0 GB", "7 of 12 files", "10.0 MB/s", "5:00 left", "━"):
        assert words in shown


def test_a_finished_bar_is_full_and_has_no_time_left():
    last = show(BEGIN, LATER, END, terminal=True).rpartition("org/m")[2]
    assert "100%" in last
    assert "left" not in last


def test_hours_are_hours():
    assert "1:01:05 left" in show(BEGIN, Progress(1, 100, 0, 1, 1.0, 3665.2), terminal=True)


def test_empty_files_alone_are_a_full_bar():
    assert "100%" in show(Progress(0, 0, 1, 1), terminal=True)
