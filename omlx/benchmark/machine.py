"""The machine that a figure belongs to, the versions of what computed it, and how busy the machine was."""

import os
import platform
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any


def machine_card() -> dict[str, Any]:
    """As JSON values. `load` is 1 when every core had something to do in the last minute. May block for a moment."""
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "cpu": _cpu_name(),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0] / (os.cpu_count() or 1), 2),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in ("mlx", "mlx-lm", "ray")},
    } | ({"gpu": gpu} if (gpu := output(["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"])) else {})


def output(command: Sequence[str], folder: Path | None = None) -> str:
    """What a command says, run in a folder; nothing where it isn't there or fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=folder)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return done.stdout.strip()


def _cpu_name() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
