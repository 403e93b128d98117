"""`omlx token`: keeps and forgets the tokens for private and gated models."""

import sys
from pathlib import Path

import click

from omlx import options
from omlx.folders import base_folder

_source = click.argument("source", type=click.Choice(["hf", "modelscope"]), metavar="SOURCE")
_MOST = 1 << 16  # bytes to read of what can be no token any more


@click.group()
def token() -> None:
    """Keep or forget the token for private and gated models. SOURCE is hf, Hugging Face, or modelscope."""


@token.command(name="set")
@_source
@options.base_path
def set_(source: str, base_path: Path | None) -> None:
    """Keep a token: typed without being shown or, where there is no terminal, read from standard input."""
    from omlx.downloads.token import store_token, variable_with_token

    if sys.stdin is None:  # it was closed
        given = ""
    elif sys.stdin.isatty():
        given = click.prompt("Token", hide_input=True, err=True, default="", show_default=False)
    else:
        given = sys.stdin.buffer.read(_MOST).decode(errors="replace")
    click.echo(f"The token is kept in {store_token(base_folder(base_path), source, given.strip())}")
    if variable := variable_with_token(source):
        click.echo(f"{variable} is set here and counts more.", err=True)


@token.command()
@_source
@options.base_path
def forget(source: str, base_path: Path | None) -> None:
    """Delete the token that is kept here."""
    from omlx.downloads.token import forget_token, token_file, variable_with_token

    base = base_folder(base_path)
    file = token_file(base, source)
    click.echo(f"{file} is deleted" if forget_token(base, source) else f"No token is kept in {file}")
    if variable := variable_with_token(source):
        click.echo(f"{variable} is set here and still counts.", err=True)
