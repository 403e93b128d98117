"""`omlx convert`: how a model is made one for MLX, or a smaller one, from the command line."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from omlx import options
from omlx.conversion.target import DTYPES, MODES, Quantization, Target, quantization_of

if TYPE_CHECKING:
    from actors.models import ModelInfo

_INTERRUPTED = 130  # as shells have it for Ctrl-C


@click.command()
@click.argument("source", metavar="SOURCE")
@click.option(
    "--name", metavar="LOCAL", help="What the converted model is called.  [default: the source's name with -4bit, or with -mlx]"
)
@click.option("--bits", type=click.IntRange(min=1), help="Quantize: bits a number.  [default: not at all]")
@click.option("--group-size", type=click.IntRange(min=1), help="Quantize: how many numbers share a scale.  [default: 64]")
@click.option("--mode", type=click.Choice(list(MODES)), help="Quantize: in which form.  [default: affine]")
@click.option("--dtype", type=click.Choice(list(DTYPES)), help="The numbers that aren't quantized.  [default: as in the source]")
@options.model_roots
@click.pass_context
def convert(
    context: click.Context,
    /,
    source: str,
    name: str | None,
    bits: int | None,
    group_size: int | None,
    mode: str | None,
    dtype: str | None,
    **_options: Any,
) -> None:
    """Make a model for MLX of one with safetensors weights, quantized if you like; a running server has it at once.

    SOURCE is a name that `omlx models` lists, or a folder. It stays as it is. `omlx pull` fetches one.
    """
    from omlx.conversion.conversion import convert as run
    from omlx.downloads.stages import ConsoleProgress

    target = Target(_quantization(mode, bits, group_size), dtype)
    asked = options.process_settings(context, options.settings_store(context))
    model, its_name = _source(context, source)
    try:
        with ConsoleProgress() as progress:
            folder = run(model, asked.model_dirs[0], name or target.name_for(its_name), target, progress)
    except KeyboardInterrupt:
        click.echo("Interrupted. Nothing of it is kept.", err=True)
        context.exit(_INTERRUPTED)
    click.echo(f"{folder.name} is in {folder}")


def _quantization(mode: str | None, bits: int | None, group_size: int | None) -> Quantization | None:
    try:
        return quantization_of(mode, bits, group_size)
    except ValueError as error:
        raise click.UsageError(str(error)) from error


def _source(context: click.Context, source: str) -> tuple["ModelInfo", str]:
    """The model that is to be converted, and its name. Raises `click.ClickException` where there is none."""
    from actors.control import RoutingTable
    from omlx.conversion.conversion import model_in

    served = RoutingTable(0, served=options.served_models(context)).find(source) if source else None
    if served is not None:
        return served.model, served.model_id.rpartition("/")[2]
    folder = Path(source).expanduser().absolute()
    if not source or not folder.is_dir():
        raise click.ClickException(
            f"'{source}' is neither a model that `omlx models` lists nor a folder. Fetch it first: `omlx pull {source or 'NAME'}`."
        )
    return model_in(folder), folder.resolve().name
