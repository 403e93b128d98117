"""The process' settings: command line and environment, then the file, then the defaults. Read once and handed down."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from actors.settings import GLOBAL_SETTINGS
from omlx.folders import model_folders


@dataclass(frozen=True, slots=True)
class ServeSettings:
    """What `omlx serve` was asked for; see its `--help`.

    Attributes:
        hf_cache: The Hugging Face cache's folder, if it is looked into.
        given: Global settings that the command line or the environment decides, whatever the file says then or later.
    """

    base_path: Path
    model_dirs: tuple[Path, ...]
    hf_cache: Path | None
    host: str
    port: int
    admin_hosts: tuple[str, ...]
    log_level: str
    log_format: str
    ray_address: str | None
    otlp_endpoint: str | None
    hf_endpoint: str | None
    ms_endpoint: str | None
    downloads_at_once: int
    max_download_speed: int | None
    max_download_speed_while_answering: int
    given: Mapping[str, Any]

    @property
    def roots(self) -> tuple[Path, ...]:
        """Every folder that models are looked for in."""
        return (*self.model_dirs, *([self.hf_cache] if self.hf_cache is not None else []))

    @property
    def log_dir(self) -> Path:
        """Where the log files of all processes are."""
        return self.base_path / "logs"


def decide(base: Path, given: Mapping[str, Any], kept: Mapping[str, Any], hf_cache: Path) -> ServeSettings:
    """The settings that hold, by name from the first that has them.

    Args:
        base: The base path, absolute.
        given: What the command line or the environment decides.
        kept: What the file says.
        hf_cache: Where the Hugging Face cache is.
    """
    defaults = {name: setting.default for name, setting in GLOBAL_SETTINGS.items()}
    value = {**defaults, **kept, **given}
    return ServeSettings(
        base_path=base,
        model_dirs=model_folders(base, value["model_dirs"] or ()),
        hf_cache=hf_cache if value["hf_cache"] else None,
        host=value["host"],
        port=value["port"],
        admin_hosts=_texts(value["admin_hosts"]),
        log_level=value["log_level"],
        log_format=value["log_format"],
        ray_address=value["ray_address"],
        otlp_endpoint=value["otlp_endpoint"],
        hf_endpoint=value["hf_endpoint"],
        ms_endpoint=value["ms_endpoint"],
        downloads_at_once=value["downloads_at_once"],
        max_download_speed=value["max_download_speed"],
        max_download_speed_while_answering=value["max_download_speed_while_answering"],
        given=given,
    )


def _texts(value: str | list[str] | None) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value or ())
