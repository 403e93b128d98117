"""A process that pulls is killed, and the next one goes on where it was."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from actors.catalog.discovery import Discovery
from tests.fakes.downloads import NAME, REPO, WANTED, WEIGHTS, model_files
from tests.fakes.file_server import Stall
from tests.fakes.hub import fake_hub

ROOT = Path(__file__).parents[2]
FILES = model_files(kilobytes=4000)
SIZE = len(FILES[WEIGHTS])

# Pulls as `omlx pull` does, and says on standard output when as many bytes have come.
PULL = """
import sys
from omlx.cli import main
from omlx.downloads.console import DownloadConsole

say, wanted = DownloadConsole.progress, int(sys.argv.pop(1))

def progress(self, progress):
    global wanted
    say(self, progress)
    if 0 <= wanted <= progress.done:
        print("came", flush=True)
        wanted = -1

DownloadConsole.progress = progress
main()
"""


@pytest.fixture
def hub():
    with fake_hub() as running:
        running.add(REPO, FILES)
        yield running


def pull(hub, home, bytes_=-1):
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(home), "PYTHONPATH": str(ROOT), "OMLX_HF_ENDPOINT": hub.url}
    return subprocess.Popen(
        [sys.executable, "-P", "-c", PULL, str(bytes_), "pull", REPO],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )


@pytest.mark.parametrize(("ending", "code"), [(signal.SIGKILL, -9), (signal.SIGTERM, -15), (signal.SIGINT, 130)])
def test_a_pull_that_is_ended_goes_on_to_the_byte(hub, tmp_path, ending, code):
    hub.fault(WEIGHTS, Stall(after=SIZE // 2))
    models = tmp_path / ".omlx" / "models"
    # Everything but the other half has come before it ends, so what is on the disk can be said exactly.
    with pull(hub, tmp_path, sum(len(FILES[name]) for name in WANTED) - SIZE + SIZE // 2) as process:
        assert process.stdout.readline() == "came\n"
        process.send_signal(ending)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == code
    assert ("goes on from there" in errors) == (ending is signal.SIGINT)
    assert [each.name for each in models.iterdir()] == [f".pull-{NAME}"]
    assert Discovery([models]).scan().models == {}
    hub.may_go_on.set()

    sent = SIZE // 2
    hub.sent.clear()
    with pull(hub, tmp_path) as process:
        output, errors = process.communicate(timeout=60)
    assert (process.returncode, output) == (0, f"{NAME} is in {models / NAME}\n"), errors
    assert "are here" in errors
    assert hub.asked(WEIGHTS)[-1].headers["Range"] == f"bytes={sent}-"
    assert sum(hub.sent[name] for name in WANTED if name != WEIGHTS) == 0
    assert {name: (models / NAME / name).read_bytes() for name in WANTED} == {name: FILES[name] for name in WANTED}
    assert list(Discovery([models]).scan().models) == [NAME]
    assert [each.name for each in models.iterdir()] == [NAME]
