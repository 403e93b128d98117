"""The process' settings, read once from the command line and the environment, and handed down."""

from dataclasses import dataclass
from pathlib import Path

from actors.contracts import EngineOptions


@dataclass(frozen=True, slots=True)
class ServeSettings:
    """What `omlx serve` was asked for; see its `--help`."""

    base_path: Path
    model_dirs: tuple[Path, ...]
    host: str
    port: int
    engine: EngineOptions
    log_level: str
    ray_address: str | None

    @property
    def log_dir(self) -> Path:
        """Where the actors' log files are."""
        return self.base_path / "logs"
