"""Runs the converter of mlx-lm or mlx-vlm, in a process that ends with the one that started it. Never runs code of a model's own.

    python -m actors.engine.converter LIBRARY SOURCE FOLDER OPTIONS

OPTIONS is a JSON object: more arguments of `LIBRARY.convert.convert`. Standard input is a pipe whose other end the starter holds.
"""

import importlib
import json
import os
import sys
import threading
from collections.abc import Sequence

DONE = "omlx: converted"


def main(arguments: Sequence[str]) -> None:
    """Convert a model, and say so as the last thing."""
    library, source, folder, options = arguments
    threading.Thread(target=_end_with_starter, daemon=True).start()
    convert = importlib.import_module(f"{library}.convert").convert
    convert(source, folder, trust_remote_code=False, **json.loads(options))
    print(DONE, flush=True)  # noqa: T201 - to the starter


def _end_with_starter() -> None:
    while os.read(sys.stdin.fileno(), 1024):
        pass
    os._exit(1)


if __name__ == "__main__":
    main(sys.argv[1:])
    os._exit(0)  # MLX may abort in glibc when the interpreter ends
