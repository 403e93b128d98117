"""What downloads leave in a folder while they run, by the program that writes it."""

import os
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from pathlib import Path

_PARTIAL = (".incomplete", ".part", ".partial", ".download", ".crdownload", ".aria2")
_MODEL_FILES = (".safetensors", ".json", ".gguf", ".bin", ".pt", ".pth", ".model", ".jinja", ".txt")
# Where huggingface_hub and modelscope keep what isn't complete, when they fetch into a folder of one's own.
DOWNLOADS = (".cache/huggingface/download", "._____temp")


def unfinished(folder: Path, names: AbstractSet[str], blobs: Path | None, *, is_model: bool) -> str | None:
    """A file of a download that has not ended, or None.

    Args:
        folder: Where the model is.
        names: Of everything in it.
        blobs: Where a Hugging Face cache keeps the model's files.
        is_model: Whether there are files of a model, so that any half file beside them belongs to it.
    """
    partial = sorted(name for name in names if name.endswith(_PARTIAL) and (is_model or _stem(name).endswith(_MODEL_FILES)))
    if partial:
        return partial[0]
    hub, modelscope = (folder / each for each in DOWNLOADS)
    for place, endings in ((hub, (".incomplete",)), (modelscope, ("",)), (blobs, (".incomplete",))):
        if place is not None:
            for file in _files(place):
                if file.endswith(endings):
                    return file
    return None


def _stem(name: str) -> str:
    return name.rpartition(".")[0]


def _files(place: Path) -> Iterator[str]:
    for _, _, files in os.walk(place):  # yields nothing where there is no such folder, and follows no links
        yield from files
