"""Draws a comparison of servers, with matplotlib (the `bench` extra)."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

PANELS = (
    ("tokens_per_second", "output tokens/s"),
    ("ttft_p50", "TTFT p50, s"),
    ("itl_p99", "ITL p99, s"),
)


def plot_serving(document: dict[str, Any], target: Path) -> None:
    """Bars by load and server for throughput, time to first token and the worst gaps, as a PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    results: Sequence[dict[str, Any]] = document["results"]
    loads = list(dict.fromkeys(result["load"] for result in results))
    servers = list(dict.fromkeys(result["server"] for result in results))
    found = {(result["load"], result["server"]): result for result in results}
    width = 0.8 / len(servers)
    figure = Figure(figsize=(4.2 * len(PANELS), 3.8), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, (key, title) in zip(figure.subplots(1, len(PANELS)), PANELS, strict=True):
        for index, server in enumerate(servers):
            places = [number + width * (index - (len(servers) - 1) / 2) for number in range(len(loads))]
            axes.bar(places, [found[load, server][key] or 0 for load in loads], width, label=server)
        axes.set_xticks(range(len(loads)), loads)
        axes.set_title(title)
        axes.spines[["top", "right"]].set_visible(False)
    figure.axes[0].legend(frameon=False)
    machine, settings = document["machine"], document["settings"]
    figure.suptitle(
        f"{settings['model']}, {settings['weights']}, {settings['workload']}: {machine['cpu']}, {machine['cores']} cores",
        fontsize=10,
    )
    figure.savefig(target, dpi=120, format="png")
