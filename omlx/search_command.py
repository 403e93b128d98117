"""`omlx search`: which models there are to fetch, from the command line."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from omlx import options

if TYPE_CHECKING:
    from omlx.downloads.source import Found


@click.command()
@click.argument("words", nargs=-1, required=True, metavar="WORDS...")
@click.option(
    "--source",
    type=click.Choice(["hf", "modelscope"]),
    default="hf",
    show_default=True,
    help="Where to search: Hugging Face, or ModelScope.",
)
@click.option(
    "--sort",
    type=click.Choice(["downloads", "likes", "updated"]),
    default="downloads",
    show_default=True,
    help="What the list begins with: the most downloads or likes, or the latest change.",
)
@click.option("--limit", type=click.IntRange(1, 100), default=20, show_default=True, help="Models at most.")
@click.option("--all", "everything", is_flag=True, help="Also models that aren't for MLX.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON document, for programs.")
@options.setting_option("hf_endpoint")
@options.setting_option("ms_endpoint")
@options.base_path
@click.pass_context
def search(
    context: click.Context,
    /,
    words: tuple[str, ...],
    source: str,
    sort: str,
    limit: int,
    everything: bool,
    as_json: bool,
    **_options: Any,
) -> None:
    """Search for models that `omlx pull` can fetch: those for MLX, unless --all is given.

    On a terminal, it shows a table; elsewhere a line a model, with tabs between name, downloads, likes, day of the last change,
    `gated` and `mlx`. What isn't known or isn't so is left empty.
    """
    from omlx.downloads.source import Sort
    from omlx.downloads.sources import open_source

    place = open_source(source, options.process_settings(context, options.settings_store(context)))
    wanted = " ".join(words)
    found = place.search(wanted, sort=Sort(sort), limit=limit, only_mlx=not everything)
    if as_json:
        document = {"source": place.kind, "endpoint": place.endpoint, "models": [_document(each) for each in found]}
        click.echo(json.dumps(document, ensure_ascii=False, indent=2))
    elif found:
        _show(found, with_mlx=everything)
    else:
        what, hint = ("model", "") if everything else ("MLX model", " --all searches for others too.")
        click.echo(f"No {what} on {place.endpoint} has to do with '{wanted}'.{hint}", err=True)


def _show(found: "Sequence[Found]", *, with_mlx: bool) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    if not console.is_terminal:
        for each in found:
            numbers = ("" if count is None else str(count) for count in (each.downloads, each.likes))
            click.echo("\t".join((each.repository, *numbers, _day(each), _if(each.is_gated, "gated"), _if(each.is_mlx, "mlx"))))
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("MODEL", overflow="fold")
    for name in ("DOWNLOADS", "LIKES"):
        table.add_column(name, justify="right", no_wrap=True)
    for name in ("UPDATED", "GATED", *(["MLX"] if with_mlx else [])):
        table.add_column(name, no_wrap=True)
    for each in found:
        counts = ("-" if count is None else f"{count:,}" for count in (each.downloads, each.likes))
        marks = (_if(each.is_gated, "gated"), *([_if(each.is_mlx, "mlx")] if with_mlx else []))
        table.add_row(Text(each.repository), *counts, _day(each) or "-", *marks)
    console.print(table)


def _document(found: "Found") -> dict[str, Any]:
    return {
        "name": found.repository,
        "downloads": found.downloads,
        "likes": found.likes,
        "updated": found.updated,
        "mlx": found.is_mlx,
        "gated": found.is_gated,
    }


def _day(found: "Found") -> str:
    return "" if found.updated is None else datetime.fromtimestamp(found.updated, UTC).date().isoformat()


def _if(so: bool, word: str) -> str:
    return word if so else ""
