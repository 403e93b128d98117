"""`omlx rm`: how models are removed from the command line. A running server notices by itself."""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from omlx import options

if TYPE_CHECKING:
    from actors.control import Served


@click.command()
@click.argument("names", metavar="MODEL...", nargs=-1, required=True)
@click.option("--yes", "-y", is_flag=True, help="Don't ask.")
@click.option("--force", is_flag=True, help="Remove even what is loaded; its requests end as they can.")
@options.model_roots
@click.pass_context
def rm(context: click.Context, /, names: tuple[str, ...], yes: bool, force: bool, **_options: Any) -> None:
    """Remove models from the disk for good; a running server has them no longer.

    MODEL is a name that `omlx models` lists, or an alias. Settings of a model stay, for when it comes back.
    """
    from omlx.removal import ModelInUseError, RemovalError, is_in_use, remove_model

    roots = options.process_settings(context, options.settings_store(context)).roots
    chosen = _chosen(context, names)
    for served in chosen:
        if not force and is_in_use(served.model.path):
            raise ModelInUseError(served.model_id)
    if not yes:
        _ask(chosen)
    failures = []
    for served in chosen:
        try:
            remove_model(served.model.path, roots, force=force)
        except RemovalError as error:
            failures.append(str(error))
        else:
            click.echo(f"{served.model_id} is removed")
    if failures:
        raise click.ClickException("\n".join(failures))


def _chosen(context: click.Context, names: Sequence[str]) -> list["Served"]:
    """The models of these names, each once. Raises `click.ClickException` for a name that none has, with those that are like it."""
    from actors.control import RoutingTable

    table = RoutingTable(0, served=options.served_models(context))
    chosen: dict[str, Served] = {}
    for name in names:
        served = table.find(name) if name else None
        if served is None:
            raise click.ClickException(_unknown(name, list(table.served.values())))
        chosen[served.model_id] = served
    return list(chosen.values())


def _unknown(name: str, models: Sequence["Served"]) -> str:
    from difflib import get_close_matches

    known = list(dict.fromkeys(each for served in models for each in (served.model_id, served.name)))
    folded = {each.casefold(): each for each in known}
    near = [folded[each] for each in get_close_matches(name.casefold(), folded, n=3)]
    if near:
        return f"There is no model '{name}'. Did you mean {' or '.join(near)}?"
    return f"There is no model '{name}'. Models here: {', '.join(served.model_id for served in models) or 'none'}."


def _ask(chosen: Sequence["Served"]) -> None:
    """Let the user decide. Raises `click.Abort` for a no, and `click.UsageError` where there is nobody to ask."""
    from omlx.listing import size_text

    if not sys.stdin.isatty():
        raise click.UsageError("Nobody can be asked here whether to remove them: say so with --yes.")
    for served in chosen:
        model = served.model
        link = f", a link to {model.path.resolve()}; only the link goes" if model.path.is_symlink() else ""
        click.echo(f"{served.model_id}  {size_text(model.size_bytes)}  {model.path}{link}")
    click.confirm(f"Remove {'it' if len(chosen) == 1 else f'these {len(chosen)} models'} for good?", abort=True)
