"""One conversion, from a model on disk to the converted one in its place.

models/.convert-Name/lock     held by the process that converts
models/.convert-Name/model/   what is being written; becomes models/Name
"""

import json
import os
import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from actors.catalog.libraries import Libraries
from actors.catalog.model_folder import read_folder
from actors.catalog.safetensors_header import Tensor
from actors.catalog.weights import INDEX, is_adapter, read_headers, weight_files
from actors.models import ModelInfo, ModelType, Skipped
from omlx.conversion import converter
from omlx.conversion.errors import ConversionError
from omlx.conversion.size import expected_bytes
from omlx.conversion.target import Target
from omlx.downloads.errors import OccupiedError, StorageError
from omlx.downloads.hold import LOCK, hold
from omlx.downloads.names import check_local
from omlx.downloads.stages import Progress

PREFIX = ".convert-"
_SPARE_BYTES = 64 << 20  # for the other files


def _free_bytes(folder: Path) -> int:
    return shutil.disk_usage(folder).free


@dataclass(frozen=True, slots=True)
class Means:
    """What converts, and where it stands: how a converter is started, and how much is free where a folder is."""

    command: Sequence[str] = converter.COMMAND
    free_bytes: Callable[[Path], int] = _free_bytes


def model_in(folder: Path) -> ModelInfo:
    """The model in a folder that discovery may not know. Raises `ConversionError` with the reason why there is none."""
    match read_folder(folder, folder.name, Libraries.installed()).found:
        case ModelInfo() as model:
            return model
        case Skipped() as skipped:
            raise ConversionError(f"{folder} can't be converted. {skipped.reason}")
        case None:
            raise ConversionError(f"There is no model in {folder}: it has no config.json and no weights.")


def convert(source: ModelInfo, model_dir: Path, name: str, target: Target, report: Progress, means: Means | None = None) -> Path:
    """Convert a model into a folder of models. Nothing shows there before it is whole, and nothing stays of what fails.

    Args:
        source: The model.
        model_dir: The folder that holds model folders; made if need be.
        name: The converted model's folder in it.
        target: What it is to be.
        report: Told of each stage.
        means: What converts; by default, the libraries' own converters.

    Returns:
        The converted model's folder.

    Raises `ConversionError`, or of `DownloadError`: `UnsuitableError` for a name that can't be, `OccupiedError` and `StorageError`.
    """
    means = means or Means()
    place = model_dir.absolute() / check_local(name)
    _refuse_occupied(place)
    work = _work(source, place, target)
    try:
        model_dir.mkdir(parents=True, exist_ok=True)
        _clean_up(model_dir)
        staging = work.folder.parent
        with hold(staging, "making"):
            try:
                shutil.rmtree(work.folder, ignore_errors=True)  # of a process that was killed
                _check_space(work.expected, means.free_bytes(staging), model_dir)
                converter.run(work, report, means.command)
                _publish(work.folder, place)
            finally:
                shutil.rmtree(staging, ignore_errors=True)
    except OSError as error:
        raise StorageError(f"{name} could not be stored in {model_dir}: {error.strerror or error}.") from error
    return place


def _work(source: ModelInfo, place: Path, target: Target) -> converter.Work:
    """What the converter is to do. Raises `ConversionError` for a model that can't be converted."""
    if source.type.encodes:
        kind = "an embedding model" if source.type is ModelType.EMBEDDING else "a reranker"
        raise ConversionError(f"{source.model_id} is {kind}. oMLX serves it as it is, and no converter is for it.")
    try:
        if "quantization" in _json(source.path / "config.json"):
            raise ConversionError(f"{source.model_id} is quantized for MLX already. Convert the original model instead.")
        tensors = _tensors(source.path)
    except (OSError, ValueError) as error:
        raise ConversionError(f"{source.model_id} can't be read: {error}.") from error
    expected = expected_bytes(tensors, target, sees=source.type.sees)
    return converter.Work(
        library="mlx_vlm" if source.type.sees else "mlx_lm",
        source=source.path.absolute(),
        folder=place.with_name(f"{PREFIX}{place.name}") / "model",
        source_name=source.model_id,
        name=place.name,
        target=target,
        expected=expected,
    )


def _json(file: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(file.read_bytes())
    return found


def _tensors(folder: Path) -> dict[str, Tensor]:
    present = sorted(file.name for file in folder.glob("*.safetensors") if not is_adapter(file.name))
    index = _json(folder / INDEX) if (folder / INDEX).exists() else None
    return read_headers(folder, weight_files(folder, present, index))


def _refuse_occupied(place: Path) -> None:
    if os.path.lexists(place):
        raise OccupiedError(f"There is {place} already. Give another name with --name, or remove it with `omlx rm {place.name}`.")


def _check_space(expected: int, free: int, where: Path) -> None:
    needed = expected + _SPARE_BYTES
    if needed > free:
        raise StorageError(
            f"There isn't enough space in {where}: about {needed / 1e9:.2f} GB are needed, and {free / 1e9:.2f} GB are free."
        )


def _publish(folder: Path, place: Path) -> None:
    """Show a model in its place, once it is sure that it can be served and is on the disk."""
    match read_folder(folder, place.name, Libraries.installed()).found:
        case ModelInfo():
            pass
        case found:
            reason = found.reason if isinstance(found, Skipped) else "It is empty."
            raise ConversionError(f"What the converter made of {place.name} can't be served. {reason}")
    for each in sorted(folder.rglob("*"), reverse=True):
        _sync(each)
    _sync(folder)
    _refuse_occupied(place)
    folder.rename(place)
    _sync(place.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _clean_up(model_dir: Path) -> None:
    """Delete what conversions that were killed have left, whichever models they were of."""
    with os.scandir(model_dir) as entries:
        left = [Path(entry.path) for entry in entries if entry.name.startswith(PREFIX) and entry.is_dir(follow_symlinks=False)]
    for folder in left:
        if (folder / LOCK).is_file():
            with suppress(OccupiedError, OSError), hold(folder, "making"):
                shutil.rmtree(folder)
