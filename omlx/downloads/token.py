"""Where the token for private and gated repositories is kept."""

import os
from collections.abc import Mapping
from pathlib import Path

from huggingface_hub import get_token

from omlx.downloads.errors import AccessError

FILE = "hf_token"  # in the base path
_VARIABLES = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")


def hub_token(base_path: Path, environment: Mapping[str, str] = os.environ) -> str | None:
    """The token: `HF_TOKEN`'s, else that of the file `hf_token` in the base path, else where `hf auth login` keeps it.

    Raises `AccessError` when others may read the file.
    """
    if not any(environment.get(each, "").strip() for each in _VARIABLES) and (own := _own(base_path / FILE)):
        return own
    return get_token()


def _own(file: Path) -> str | None:
    try:
        with file.open("rb") as opened:
            mode = os.fstat(opened.fileno()).st_mode
            token = opened.read().decode("ascii", "ignore").strip()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise AccessError(f"{file} can't be read: {error.strerror}.") from error
    if mode & 0o077:
        raise AccessError(f"{file} holds a token, and others may read it. Run `chmod 600 {file}`.")
    return token or None
