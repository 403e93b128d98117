"""Which files of a folder are its weights, and whether all of them are there and whole."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from actors.catalog.reasons import Reason, UnservableError
from actors.catalog.safetensors_header import HeaderError, LfsPointerError, Tensor, TruncatedError, read_header

INDEX = "model.safetensors.index.json"
_SHARD = re.compile(r"(.+)-(\d{1,5})-of-(\d{1,5})\.safetensors")
_CONSOLIDATED = "consolidated"  # the same weights again, as Mistral's own software reads them


def is_adapter(name: str) -> bool:
    """Whether a file of this name is a LoRA adapter, as mlx-lm or PEFT write it."""
    return name.endswith("adapters.safetensors") or name in ("adapter_model.safetensors", "adapter_model.bin")


def weight_files(folder: Path, present: Sequence[str], index: Mapping[str, Any] | None) -> list[str]:
    """The files that make up a model, of those that are present. Raises `UnservableError` if one is missing.

    An index names them; without one they say themselves how many they are.
    """
    if index is not None:
        shards = index.get("weight_map")
        if not isinstance(shards, Mapping) or not all(isinstance(each, str) for each in shards.values()):
            raise UnservableError(Reason.BAD_JSON, file=INDEX, error="it has no weight_map")
        wanted = sorted(set(shards.values()))
        _refuse_missing([name for name in wanted if name not in present and not (folder / name).is_file()])
        if wanted:
            return wanted
    named = [name for name in present if name.startswith("model")] or [
        name for name in present if not name.startswith(_CONSOLIDATED)
    ]
    chosen = named or list(present)
    _refuse_missing(_gaps(chosen))
    if not chosen:
        raise UnservableError(Reason.NO_WEIGHTS)
    return chosen


def read_headers(folder: Path, files: Sequence[str]) -> dict[str, Tensor]:
    """The tensors of all files, by name. Raises `UnservableError` for one that isn't whole, or `OSError`."""
    tensors: dict[str, Tensor] = {}
    for name in files:
        try:
            tensors |= read_header(folder / name)
        except TruncatedError as error:
            raise UnservableError(Reason.TRUNCATED, file=name, size=error.size, expected=error.expected) from error
        except LfsPointerError as error:
            raise UnservableError(Reason.LFS_POINTER, file=name) from error
        except HeaderError as error:
            raise UnservableError(Reason.CORRUPT, file=name, error=error) from error
    return tensors


def _gaps(names: Sequence[str]) -> list[str]:
    missing = []
    for prefix, digits, total in {(shard[1], len(shard[2]), shard[3]) for name in names if (shard := _SHARD.fullmatch(name))}:
        wanted = (f"{prefix}-{number:0{digits}}-of-{total}.safetensors" for number in range(1, int(total) + 1))
        missing += [name for name in wanted if name not in names]
    return sorted(missing)


def _refuse_missing(names: Sequence[str]) -> None:
    if names:
        raise UnservableError(
            Reason.MISSING_SHARDS, what=names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"
        )
