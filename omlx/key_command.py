"""`omlx key`: makes, lists and revokes API keys. A running server notices by itself."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from omlx import options
from omlx.folders import base_folder

if TYPE_CHECKING:
    from omlx.access.access_file import AccessFile
    from omlx.access.keys import Key, Limits

_Command = TypeVar("_Command", bound=Callable[..., Any])
_count = click.IntRange(min=1)


def _limits(command: _Command) -> _Command:
    for flag, words in (
        ("--tokens-per-day", "Tokens of prompts and answers together, from midnight to midnight UTC."),
        ("--concurrent-requests", "Requests at once."),
        ("--requests-per-minute", "Requests in any sixty seconds."),
    ):
        command = click.option(flag, type=_count, help=words)(command)
    return command


@click.group()
def key() -> None:
    """Make, list and revoke API keys. Once there is one, the server asks everybody for one. A running server notices by itself."""


@key.command()
@click.argument("name")
@click.option("--admin", is_flag=True, help="It may administer the server too.")
@_limits
@options.base_path
def add(name: str, admin: bool, base_path: Path | None, **limits: int | None) -> None:
    """Make a key, and print it. It is shown this once."""
    _, secret = _file(base_path).add_key(name, is_admin=admin, limits=_made(limits))
    click.echo(secret)
    click.echo("Only its hash is kept: write the key down now.", err=True)


@key.command(name="list")
@options.base_path
def list_(base_path: Path | None) -> None:
    """List every key, and what it has used."""
    from omlx.access.usage import KeyUsage

    base = base_folder(base_path)
    keys = _file(base_path).kept().keys.values()
    usage = KeyUsage(base)
    if not keys:
        click.echo("There is no key: whoever reaches the server may use it, which is this machine alone.")
    for each in keys:
        used = usage.of(each.key_id)
        tokens = f"{used.prompt_tokens:,} in, {used.completion_tokens:,} out"
        click.echo(f"{each.name}  {each.hint}  {_state(each)}  {_words(each.limits)}  {used.requests:,} requests  {tokens}")


@key.command()
@click.argument("name")
@_limits
@options.base_path
def limit(name: str, base_path: Path | None, **limits: int | None) -> None:
    """Give a key other limits; those that aren't given are lifted."""
    from omlx.access.access_file import find_key

    file = _file(base_path)
    changed = file.set_limits(find_key(file.kept(), name).key_id, _made(limits))
    click.echo(f"{changed.name}: {_words(changed.limits)}")


@key.command()
@click.argument("name")
@options.base_path
def revoke(name: str, base_path: Path | None) -> None:
    """Have a key count no more, and end what is being answered to it."""
    from omlx.access.access_file import find_key

    file = _file(base_path)
    revoked = file.revoke_key(find_key(file.kept(), name).key_id)
    click.echo(f"The key '{revoked.name}' is revoked")


@key.command()
@click.argument("name")
@options.base_path
def forget(name: str, base_path: Path | None) -> None:
    """Drop what is kept of a revoked key. With the last one, the server asks nobody on this machine for a key."""
    from omlx.access.access_file import find_key

    file = _file(base_path)
    found = find_key(file.kept(), name)
    file.forget_key(found.key_id)
    click.echo(f"The key '{found.name}' is forgotten")


def _file(base_path: Path | None) -> "AccessFile":
    from omlx.access.access_file import AccessFile

    return AccessFile(base_folder(base_path))


def _made(limits: dict[str, int | None]) -> "Limits":
    from omlx.access.keys import Limits

    return Limits(**limits)


def _state(each: "Key") -> str:
    if each.revoked:
        return f"revoked {each.revoked}"
    return "administrator" if each.is_admin else "user"


def _words(limits: "Limits") -> str:
    words = [
        f"{limits.requests_per_minute:,} requests a minute" if limits.requests_per_minute else "",
        f"{limits.concurrent_requests:,} at once" if limits.concurrent_requests else "",
        f"{limits.tokens_per_day:,} tokens a day" if limits.tokens_per_day else "",
    ]
    return ", ".join(filter(None, words)) or "no limits"
