"""The `omlx` command."""

import json
import os
import sys
from typing import Any

import click

from omlx import __version__, options
from omlx.convert_command import convert
from omlx.key_command import key
from omlx.origin import foreign_package
from omlx.password_command import password
from omlx.pull_command import pull, pull_demo_model
from omlx.rm_command import rm
from omlx.search_command import search
from omlx.settings_commands import settings
from omlx.token_command import token

_SHORTEST_KEY = 8  # characters of one that a person made up


class _Group(click.Group):
    """Errors of ours end in one line on standard error, not in a traceback."""

    def invoke(self, ctx: click.Context) -> object:
        foreign = foreign_package()
        if foreign is not None:
            raise click.ClickException(foreign)
        from actors.errors import OmlxError

        try:
            return super().invoke(ctx)
        except OmlxError as error:
            raise click.ClickException(str(error)) from error


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="omlx", message="%(prog)s %(version)s")
def main() -> None:
    """Serve MLX models to OpenAI-style clients, many requests at once, from this machine."""


@main.command()
@options.model_roots
@options.setting_options
@click.option(
    "--demo", is_flag=True, envvar="OMLX_DEMO", help="Fetch the demo model first when there is no model.", show_envvar=True
)
@click.option(
    "--api-key",
    metavar="KEY",
    envvar="OMLX_API_KEY",
    help="An administrator's key that clients must send, 8 characters or more. `omlx key` makes others.",
    show_envvar=True,
)
@click.pass_context
def serve(context: click.Context, /, demo: bool, api_key: str | None, **_options: Any) -> None:
    """Start the server. Each model is loaded by the first request to it.

    What is not given here holds as `omlx settings` has it.
    """
    from omlx.logs import configure_logging

    os.environ.pop("OMLX_API_KEY", None)  # engines, which inherit the environment, have no use for it
    if api_key is not None and (
        len(api_key) < _SHORTEST_KEY or not api_key.isascii() or not api_key.isprintable() or " " in api_key
    ):
        raise click.BadParameter(
            f"A key has {_SHORTEST_KEY} or more printable ASCII characters, and no space.", param_hint="--api-key"
        )
    asked = options.process_settings(context, options.settings_store(context))
    configure_logging(asked.log_level, asked.log_format)
    if demo:
        from actors.catalog.discovery import Discovery

        if not Discovery(asked.model_dirs, asked.hf_cache).scan().models:
            click.echo("No model yet: fetching the demo model, SmolLM2-135M-Instruct (93 MB).", err=True)
            pull_demo_model(asked.model_dirs[0])
    from omlx.server import serve as run

    run(asked, api_key)


@main.command()
@options.model_roots
@click.option("--json", "as_json", is_flag=True, help="Print a JSON document, for programs.")
@click.pass_context
def models(context: click.Context, /, as_json: bool, **_options: Any) -> None:
    """List the models that would be served, and which folders would not be, and why."""
    from actors.catalog.discovery import Discovery
    from actors.catalog.serving import serve_all
    from omlx.listing import document, table

    store = options.settings_store(context)
    asked = options.process_settings(context, store)
    found = Discovery(asked.model_dirs, asked.hf_cache).scan()
    served = list(serve_all(found, store).values())
    if as_json:
        click.echo(json.dumps(document(served, found.skipped), ensure_ascii=False, indent=2))
        return
    if not served:
        click.echo(f"No models in {', '.join(map(str, asked.model_dirs))}. `omlx pull demo` fetches a small one.")
    for line in table(served, found.skipped):
        click.echo(line)


main.add_command(convert)
main.add_command(key)
main.add_command(password)
main.add_command(pull)
main.add_command(search)
main.add_command(rm)
main.add_command(settings)
main.add_command(token)


if __name__ == "__main__":
    sys.exit(main())
