"""A watcher that keeps what it is told, and a model worth fetching."""

import random
from pathlib import Path
from typing import Any

from omlx.downloads.download import Download, Manner
from omlx.downloads.progress import Progress
from omlx.downloads.retries import Retries
from tests.fakes.hub import FakeHub
from tests.fakes.model import safetensors
from tests.fakes.modelscope import FakeModelScope

REPO = "org/tiny-llama"
NAME = "tiny-llama"
WEIGHTS = "model.safetensors"
AT_ONCE = Retries(count=2, first_seconds=0, longest_seconds=0)
NO_RETRIES = Retries(count=0)


def model_files(seed: int = 1, kilobytes: int = 400) -> dict[str, bytes]:
    """A repository with a model that discovery takes, and files that nobody wants."""
    weights = bytearray(safetensors({"w": ("F32", (kilobytes * 256,))}))
    begin = len(weights) - kilobytes * 1024
    weights[begin:] = random.Random(seed).randbytes(kilobytes * 1024)  # noqa: S311 - so that no two places look the same
    return {
        ".gitattributes": b"*.safetensors filter=lfs",
        "README.md": b"# Tiny",
        "config.json": b'{"model_type": "llama", "max_position_embeddings": 4096}',
        "tokenizer.json": b'{"model": {"vocab": {}}}' + b" " * 2000 + b"}",
        WEIGHTS: bytes(weights),
        "pytorch_model.bin": b"torch" * 1000,
        "original/params.json": b"{}",
    }


WANTED = sorted(
    name for name in model_files(kilobytes=1) if name not in (".gitattributes", "pytorch_model.bin", "original/params.json")
)


class Watcher:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.seen: list[Progress] = []
        self.troubles: list[str] = []

    def progress(self, progress: Progress) -> None:
        """Keep it."""
        self.seen.append(progress)

    def trouble(self, text: str) -> None:
        """Keep it."""
        self.troubles.append(text)


def download(
    place: FakeHub | FakeModelScope,
    models: Path,
    watcher: Watcher | None = None,
    *,
    token: str | None = None,
    revision: str | None = None,
    **manner: Any,
) -> Download:
    """A download of `REPO` that waits for nothing between tries, unless it is told otherwise."""
    name = manner.pop("name", NAME)
    repo = manner.pop("repo", REPO)
    where = {key: manner.pop(key) for key in ("endpoint", "connect_seconds", "read_seconds") if key in manner}
    repository = place.repository(repo, revision, token, **where)
    return Download(repository, models, name, watcher or Watcher(), Manner(**{"retries": AT_ONCE, "spare_bytes": 0} | manner))


def refusal(kind: type[Exception], *arguments: Any, **more: Any) -> str:
    """What a download says that fails in one way."""
    try:
        download(*arguments, **more).run()
    except kind as error:
        return str(error)
    raise AssertionError("it didn't fail")


def shown(models: Path) -> list[str]:
    """What discovery could look into."""
    return sorted(each.name for each in models.iterdir() if not each.name.startswith(".")) if models.exists() else []
