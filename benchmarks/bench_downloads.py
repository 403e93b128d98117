"""What downloads cost those who chat: the gaps of running answers while three models come, and while none does, in turn.

    python -m benchmarks.bench_downloads [MODEL_FOLDER] [--streams 2] [--models 3] [--bytes 340000000] [--rounds 4] [--short] [--save]

The hub is a process of this machine, so the bytes come as fast as it and the disk allow, unless `--max-download-speed` says otherwise.
A window with downloads lasts until all have come; the next one without lasts as long.
"""

import argparse
import asyncio
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx

from benchmarks import local_hub
from benchmarks.client import Recording
from benchmarks.endless import keep_streaming
from benchmarks.report import finish, new_document, table
from benchmarks.server import demo_model_dir, running_server
from benchmarks.stats import percentile

WANTED = 1.2  # times the gaps without downloads, at the most
_WARM_SECONDS = 3.0
_TOKENS = 1_000  # of an answer; then the stream begins anew
_ASK_SECONDS = 0.1  # between two looks at the downloads


@dataclass(frozen=True, slots=True)
class Window:
    """Some seconds of all streams, with downloads or without."""

    downloading: bool
    began: float
    ended: float


async def fetch_all(http: httpx.AsyncClient, models: int, folder: Path) -> None:
    """Have the server fetch every model of the hub, and delete them."""
    wished = [{"model": local_hub.name(number)} for number in range(models)]
    ids = [(await http.post("/admin/api/hf/download", json=wish)).raise_for_status().json()["id"] for wish in wished]
    while True:
        tasks = {task["id"]: task for task in (await http.get("/admin/api/hf/tasks")).json()["tasks"]}
        if failed := [tasks[each]["error"] for each in ids if tasks[each]["state"] == "failed"]:
            raise RuntimeError(failed[0])
        if all(tasks[each]["state"] == "done" for each in ids):
            break
        await asyncio.sleep(_ASK_SECONDS)
    for wish in wished:
        await asyncio.to_thread(shutil.rmtree, folder / wish["model"].rpartition("/")[2])


async def measure(url: str, model: str, folder: Path, options: argparse.Namespace) -> tuple[list[Window], list[Recording]]:
    """Every window, and all that was streamed."""
    recordings: list[Recording] = []
    windows: list[Window] = []
    async with httpx.AsyncClient(base_url=url, timeout=60) as http, asyncio.TaskGroup() as group:
        streams = [
            group.create_task(keep_streaming(url, model, number, _TOKENS, recordings)) for number in range(options.streams)
        ]
        while sum(bool(each.pieces) for each in recordings) < options.streams:  # noqa: ASYNC110 - it is the server that is waited for
            await asyncio.sleep(0.1)
        await fetch_all(http, options.models, folder)  # starts the process that downloads
        await asyncio.sleep(_WARM_SECONDS)
        for _ in range(options.rounds):
            began = time.monotonic()
            await fetch_all(http, options.models, folder)
            windows.append(Window(downloading=True, began=began, ended=time.monotonic()))
            began = time.monotonic()
            await asyncio.sleep(windows[-1].ended - windows[-1].began)
            windows.append(Window(downloading=False, began=began, ended=time.monotonic()))
        for stream in streams:
            stream.cancel()
    return windows, recordings


def gaps(windows: list[Window], recordings: list[Recording], *, downloading: bool) -> list[float]:
    """Seconds between one piece of a stream and the next, of those that came within a window of a kind."""
    found = []
    for recording in recordings:
        arrivals = recording.read().arrivals if recording.pieces else []
        for earlier, later in pairwise(arrivals):
            if any(each.downloading == downloading and each.began <= earlier and later <= each.ended for each in windows):
                found.append(later - earlier)
    return found


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model_folder", nargs="?", type=Path, help="one model's folder; the demo model, fetched if need be")
    parser.add_argument("--streams", type=int, default=2, help="default 2")
    parser.add_argument("--models", type=int, default=3, help="that are fetched; default 3")
    parser.add_argument("--bytes", type=int, default=340_000_000, help="of each; default 340000000")
    parser.add_argument("--rounds", type=int, default=4, help="windows of each kind; default 4")
    parser.add_argument("--max-download-speed", type=int, help="bytes a second; default: as many as come")
    parser.add_argument("--short", action="store_true", help="one round, a tenth of the bytes")
    parser.add_argument("--save", action="store_true", help="keep the result")
    options = parser.parse_args()
    if options.short:
        options.rounds, options.bytes = 1, options.bytes // 10
    source = (options.model_folder or demo_model_dir() / "SmolLM2-135M-Instruct").absolute()
    document = new_document(
        "downloads",
        model=source.name,
        streams=options.streams,
        models=options.models,
        bytes=options.bytes,
        rounds=options.rounds,
        max_download_speed=options.max_download_speed,
    )
    limit = [] if options.max_download_speed is None else ["--max-download-speed", str(options.max_download_speed)]
    with tempfile.TemporaryDirectory(prefix="omlx-models-") as models, local_hub.local_hub(options.models, options.bytes) as hub:
        folder = Path(models)
        (folder / source.name).symlink_to(source)
        with running_server(folder, "--no-hf-cache", "--hf-endpoint", hub.url, *limit) as server:
            windows, recordings = asyncio.run(measure(server.url, source.name, folder, options))
    document["figures"] = figures = _figures(windows, recordings, options.models * options.bytes)
    text = f"{options.streams} stream(s) of {source.name} while {options.models} models of {options.bytes / 1e6:.0f} MB come, and not, in turn\n\n"
    text += table(["what", "figure"], [[name, value] for name, value in figures.items()])
    text += f"\n\nGaps of at most {WANTED:g} times those without downloads are wanted; half of them were {figures['ratio_p50']:.2f} times as long."
    finish(document, text, keep=options.save)
    return 0


def _figures(windows: list[Window], recordings: list[Recording], size: int) -> dict[str, Any]:
    without, during = (gaps(windows, recordings, downloading=kind) for kind in (False, True))
    seconds = [each.ended - each.began for each in windows if each.downloading]
    found: dict[str, Any] = {"megabytes_per_second": size * len(seconds) / sum(seconds) / 1e6, "gaps": len(without) + len(during)}
    found["mean"], found["mean_downloading"] = (sum(each) / len(each) for each in (without, during))
    for point in (50, 99):
        found[f"p{point}"], found[f"p{point}_downloading"] = percentile(without, point), percentile(during, point)
        found[f"ratio_p{point}"] = found[f"p{point}_downloading"] / found[f"p{point}"]
    return found | {"ratio_mean": found["mean_downloading"] / found["mean"]}


if __name__ == "__main__":
    sys.exit(main())
