"""`omlx password`: sets and forgets the administration's password. A running server notices by itself."""

import sys
from pathlib import Path

import click

from omlx import options
from omlx.folders import base_folder

_MOST = 1 << 16  # bytes to read of what can be no password any more


@click.group()
def password() -> None:
    """Set or forget the password of the administration. A running server notices by itself, and signs everybody out."""


@password.command(name="set")
@options.base_path
def set_(base_path: Path | None) -> None:
    """Set the password: typed without being shown or, where there is no terminal, read from standard input."""
    from omlx.access.access_file import AccessFile
    from omlx.access.password import hashed

    if sys.stdin is None:  # it was closed
        given = ""
    elif sys.stdin.isatty():
        given = click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True, default="", show_default=False)
    else:
        given = sys.stdin.buffer.read(_MOST).decode(errors="replace").rstrip("\r\n")
    file = AccessFile(base_folder(base_path))
    file.set_password(hashed(given))
    click.echo(f"The administration asks for the password now; its hash is in {file.path}")


@password.command()
@options.base_path
def forget(base_path: Path | None) -> None:
    """Forget the password. Where there is no administrator's key, everybody on this machine may administer the server then."""
    from omlx.access.access_file import AccessFile

    file = AccessFile(base_folder(base_path))
    was_set = file.kept().password is not None
    if was_set:
        file.set_password(None)
    click.echo("The password is forgotten" if was_set else "No password was set")
