"""`python -m dashboards` writes the dashboards' JSON; with `--check` it only says whether it is as it should be."""

import argparse
import json
import sys
from pathlib import Path

from dashboards.engine import engine
from dashboards.overview import overview

GENERATED = Path(__file__).parent / "generated"


def documents() -> dict[Path, str]:
    """What each generated file should say."""
    return {
        GENERATED / f"{name}.json": json.dumps(made, indent=2, ensure_ascii=False) + "\n"
        for name, made in (("overview", overview()), ("engine", engine()))
    }


def main(arguments: list[str] | None = None) -> int:
    """Write or check the files; 1 where a check finds one that isn't current."""
    parser = argparse.ArgumentParser(prog="python -m dashboards", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 if a file isn't current")
    check = parser.parse_args(arguments).check
    stale = {path: text for path, text in documents().items() if not path.exists() or path.read_text("utf-8") != text}
    for path, text in stale.items():
        if check:
            print(f"{path} isn't current: run python -m dashboards")
        else:
            path.write_text(text, "utf-8")
            print(f"wrote {path}")
    return int(check and bool(stale))


if __name__ == "__main__":
    sys.exit(main())
