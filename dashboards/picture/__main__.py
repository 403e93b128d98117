"""`python -m dashboards.picture` draws a dashboard from Prometheus' answers."""

import argparse
import json
import sys
import time
from pathlib import Path

from dashboards.__main__ import GENERATED
from dashboards.picture.answers import Span, prometheus
from dashboards.picture.page import picture

_POINTS = 240


def main(arguments: list[str] | None = None) -> int:
    """Draw; 1 where Prometheus can't be asked."""
    parser = argparse.ArgumentParser(prog="python -m dashboards.picture", description=__doc__)
    parser.add_argument("--prometheus", default="http://127.0.0.1:9090", metavar="URL", help="whom to ask (%(default)s)")
    parser.add_argument("--dashboard", default="overview", choices=("overview", "engine"), help="which (%(default)s)")
    parser.add_argument("--model", default=".*", metavar="REGEX", help="whom $model stands for (all)")
    parser.add_argument("--minutes", type=float, default=15.0, metavar="N", help="how long (%(default)s)")
    parser.add_argument("--end", type=float, metavar="SECONDS", help="when it ends, in seconds since 1970 (now)")
    parser.add_argument("--scrape-seconds", type=float, default=5.0, metavar="N", help="how often it scrapes (%(default)s)")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.png", help="where the picture goes")
    asked = parser.parse_args(arguments)
    end = time.time() if asked.end is None else asked.end
    span = Span(end - asked.minutes * 60, end, max(1.0, round(asked.minutes * 60 / _POINTS)))
    dashboard = json.loads((GENERATED / f"{asked.dashboard}.json").read_text("utf-8"))
    try:
        drawn = picture(dashboard, span, prometheus(asked.prometheus), model=asked.model, scrape_seconds=asked.scrape_seconds)
    except OSError as error:
        print(f"{asked.prometheus} can't be asked: {error}", file=sys.stderr)
        return 1
    asked.out.write_bytes(drawn)
    return 0


if __name__ == "__main__":
    sys.exit(main())
