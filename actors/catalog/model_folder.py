"""One folder, looked at: the model in it, or why there is none."""

import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from actors.catalog.fingerprint import UNKNOWN, Fingerprint
from actors.catalog.libraries import Libraries
from actors.catalog.model_config import context_length, generation, kv_bytes_per_token, layer_bits, named_code, quantization
from actors.catalog.model_type import Evidence, model_type
from actors.catalog.reasons import Reason, UnservableError
from actors.catalog.safetensors_header import count_parameters
from actors.catalog.unfinished import DOWNLOADS, unfinished
from actors.catalog.weights import INDEX, is_adapter, read_headers, weight_files
from actors.folder_revision import counts, revision_of
from actors.models import ModelInfo, Skipped

_CONFIG = "config.json"
_PIPELINE = "model_index.json"
_TOKENIZER = "tokenizer.json"
# Files that have to be JSON if they are there. A tokenizer takes too long to parse: its ends are looked at.
_JSON = ("generation_config.json", "tokenizer_config.json", "modules.json", "preprocessor_config.json", "processor_config.json")
_TORCH = (".bin", ".pt", ".pth")


@dataclass(frozen=True, slots=True)
class Reading:
    """What was found in a folder.

    Attributes:
        found: None where nothing looks like a model.
        is_model: Whether it is a model's own folder, so that nothing beneath it is one.
        identity: Of the folder itself, whatever path leads to it: device and inode.
        fingerprint: Of everything that `found` came from.
    """

    found: ModelInfo | Skipped | None
    is_model: bool
    identity: tuple[int, int]
    fingerprint: Fingerprint


@dataclass(frozen=True, slots=True)
class _Listing:
    folder: Path
    files: Mapping[str, os.stat_result]
    names: frozenset[str]
    dangling: tuple[str, ...]


def read_folder(folder: Path, name: str, libraries: Libraries, blobs: Path | None = None) -> Reading:
    """Look at a folder; `name` becomes the model's id. `blobs` is where a cache keeps what the folder links to. Raises nothing."""
    identity = (0, 0)
    try:
        status = folder.stat()
        identity = status.st_dev, status.st_ino
        # First those of the folder, then of its files, so that what comes meanwhile is seen the next time.
        above = [str(folder), *(str(folder / each) for each in DOWNLOADS), *([str(blobs)] if blobs else [])]
        now = time.time_ns()
        fingerprint = Fingerprint.take(above)
        listing = _list(folder)
        watched = {str(folder / each): status for each, status in listing.files.items() if counts(each)}
        fingerprint += Fingerprint.of(watched, now)
    except FileNotFoundError:
        return Reading(None, False, identity, UNKNOWN)
    except OSError as error:
        return Reading(Skipped(folder, Reason.UNREADABLE.format(error=error.strerror)), False, identity, UNKNOWN)
    is_model = bool({_CONFIG, _PIPELINE} & listing.names)
    try:
        return Reading(_read(listing, name, libraries, blobs), is_model, identity, fingerprint)
    except UnservableError as error:
        # What a download writes may be deeper than what is watched: look again each time until it has ended.
        until = UNKNOWN if error.reason is Reason.DOWNLOADING else fingerprint
        return Reading(Skipped(folder, str(error)), is_model, identity, until)
    except OSError as error:
        return Reading(
            Skipped(folder, Reason.UNREADABLE.format(error=f"{error.strerror}: {error.filename}")), is_model, identity, UNKNOWN
        )


def _list(folder: Path) -> _Listing:
    files, names, dangling = {}, set(), []
    with os.scandir(folder) as entries:
        for entry in entries:
            names.add(entry.name)
            try:
                if not entry.is_dir():
                    files[entry.name] = entry.stat()
            except OSError:
                if counts(entry.name):
                    dangling.append(entry.name)
    return _Listing(folder, files, frozenset(names), tuple(sorted(dangling)))


def _read(listing: _Listing, name: str, libraries: Libraries, blobs: Path | None) -> ModelInfo | None:
    weights = sorted(each for each in listing.files if each.endswith(".safetensors") and not is_adapter(each))
    if left := unfinished(listing.folder, listing.names, blobs, is_model=bool(weights or _CONFIG in listing.names)):
        raise UnservableError(Reason.DOWNLOADING, what=left)
    if listing.dangling:
        raise UnservableError(Reason.DOWNLOADING, what=f"{listing.dangling[0]} is a link to what isn't there")
    if _PIPELINE in listing.names and _CONFIG not in listing.names:
        raise UnservableError(Reason.PIPELINE)
    if _CONFIG not in listing.files:
        _refuse_other_weights(listing)
        if weights:
            raise UnservableError(Reason.NO_CONFIG)
        return None
    config = _json(listing, _CONFIG)
    index = _json(listing, INDEX) if INDEX in listing.files else None
    if not weights and index is None:
        _refuse_other_weights(listing)
        raise UnservableError(Reason.NO_WEIGHTS)
    if not isinstance(config.get("model_type"), str):
        raise UnservableError(Reason.NO_TYPE)
    files = weight_files(listing.folder, weights, index)
    others = {each: _json(listing, each) if each in listing.files else {} for each in _JSON}
    _check_ends(listing, _TOKENIZER)
    tensors = read_headers(listing.folder, files)
    modules = others["modules.json"].get("", [])
    evidence = Evidence(name, config, tensors.keys(), _module_types(modules, listing.names))
    code = {each for each in listing.names if each.endswith(".py")} | named_code(config, *others.values())
    return ModelInfo(
        model_id=name,
        path=listing.folder,
        type=model_type(evidence, libraries),
        architecture=config["model_type"],
        size_bytes=sum((listing.folder / each).stat().st_size for each in files),
        parameters=count_parameters(tensors, lambda layer: layer_bits(config, layer)),
        context_length=context_length(config),
        kv_bytes_per_token=kv_bytes_per_token(config),
        created=int(listing.files[_CONFIG].st_mtime),
        revision=revision_of(listing.files),
        quantization=quantization(config),
        generation=generation(others["generation_config.json"]),
        own_code=tuple(sorted(code)),
    )


def _refuse_other_weights(listing: _Listing) -> None:
    """Say what a folder without MLX weights has instead, if it has anything."""
    if "adapter_config.json" in listing.names or any(is_adapter(each) for each in listing.names):
        raise UnservableError(Reason.LORA)
    for endings, reason in (((".gguf",), Reason.GGUF), (_TORCH, Reason.PYTORCH)):
        if names := sorted(each for each in listing.files if each.endswith(endings) and not each.startswith(".")):
            raise UnservableError(reason, what=names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more")


def _json(listing: _Listing, name: str) -> dict[str, Any]:
    """The object in a file; a list is the object's only member, under an empty name."""
    try:
        value = json.loads((listing.folder / name).read_bytes())
        if not isinstance(value, dict | list) or (isinstance(value, list) and name == _CONFIG):
            raise ValueError("it is no object")
    except (ValueError, RecursionError) as error:
        raise UnservableError(Reason.BAD_JSON, file=name, error=error) from error
    return value if isinstance(value, dict) else {"": value}


def _check_ends(listing: _Listing, name: str) -> None:
    if name not in listing.files:
        return
    with (listing.folder / name).open("rb") as file:
        start = file.read(64).lstrip()
        file.seek(max(listing.files[name].st_size - 64, 0))
        end = file.read().rstrip()
    if not (start.startswith(b"{") and end.endswith(b"}")):
        raise UnservableError(Reason.BAD_JSON, file=name, error="it isn't whole")


def _module_types(modules: Any, names: frozenset[str]) -> tuple[str, ...]:
    types = [str(each.get("type")) for each in modules if isinstance(each, Mapping)] if isinstance(modules, list) else []
    return (*types, *(["Pooling"] if "1_Pooling" in names else []))
