"""What is said of a model before it is fetched, made of what its place tells: which files come, and what it would take here."""

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from actors.catalog.libraries import Libraries
from actors.catalog.memory import Device, need_of, this_machine
from actors.catalog.model_config import context_length, kv_bytes_per_token
from actors.catalog.model_type import Evidence, model_type
from actors.catalog.reasons import UnservableError
from actors.contracts import EngineOptions
from actors.models import ModelInfo, ModelType
from omlx.downloads.errors import UnsuitableError
from omlx.downloads.names import check_paths
from omlx.downloads.parameters import from_size
from omlx.downloads.readme import readable
from omlx.downloads.repository import RemoteFile
from omlx.downloads.selection import Selection
from omlx.downloads.source import Card, Found

_WEIGHTS = ".safetensors"


def make_card(
    found: Found,
    commit: str,
    files: Sequence[RemoteFile],
    *,
    license_name: str | None,
    readme: bytes | None,
    config: bytes | None,
    parameters: int | None = None,
) -> Card:
    """A model's card. Raises nothing.

    Args:
        found: As a search has it.
        commit: What the files are of.
        files: All of them.
        license_name: As the place names it.
        readme: Of `README.md`, the beginning at least.
        config: All of `config.json`.
        parameters: Numbers that its weights stand for, unpacked; None where the place doesn't tell, to take it from sizes.
    """
    problem, chosen = None, []
    try:
        chosen = Selection().choose(found.repository, [file.path for file in files])
        check_paths(found.repository, chosen)
    except UnsuitableError as error:
        problem, chosen = str(error), []
    weights = {file.path: file.size for file in files if file.path in chosen and file.path.endswith(_WEIGHTS)}
    return Card(
        found=found,
        commit=commit,
        files=tuple(files),
        fetched=tuple(chosen),
        problem=problem,
        memory_bytes=_memory(found.repository, sum(weights.values()), config, parameters) if weights else None,
        license=license_name,
        text=readable(readme or b""),
    )


def _memory(repository: str, size: int, config: bytes | None, parameters: int | None) -> int | None:
    """Bytes that it is likely to take here; None where its configuration can't be read or the libraries don't know it."""
    name = repository.rpartition("/")[2]
    try:
        described = json.loads(config) if config is not None else {}
        if not isinstance(described, dict) or (config is not None and not isinstance(described.get("model_type"), str)):
            return None
        info = ModelInfo(
            model_id=name,
            path=Path(name),
            type=model_type(Evidence(name, described), Libraries.installed()) if described else ModelType.LLM,
            size_bytes=size,
            parameters=from_size(size, described) if parameters is None else parameters,
            context_length=context_length(described),
            kv_bytes_per_token=kv_bytes_per_token(described),
        )
    except (ValueError, RecursionError, UnservableError):
        return None
    return need_of(info, EngineOptions(), _device()).least


@cache
def _device() -> Device:
    return this_machine().device
