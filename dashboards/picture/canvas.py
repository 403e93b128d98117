"""A picture in pixels, from the top left, with boxes, texts, axes and legends."""

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Literal

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import FancyBboxPatch

from dashboards.picture import theme

_DPI = 100
_POINT = 72 / _DPI  # a pixel, in points
_LEGEND_LINE, _LEGEND_LINES = 19, 2


@dataclass(frozen=True, slots=True)
class Place:
    """A panel's place, in pixels."""

    left: float
    top: float
    width: float
    height: float

    @property
    def right(self) -> float:
        """Its right edge."""
        return self.left + self.width

    @property
    def bottom(self) -> float:
        """Its lower edge."""
        return self.top + self.height


class Canvas:
    """What is drawn on; sizes and places are pixels."""

    def __init__(self, width: int, height: int) -> None:
        self._width, self._height = width, height
        self._figure = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI, facecolor=theme.PAGE)
        FigureCanvasAgg(self._figure)

    def png(self) -> bytes:
        """The picture."""
        out = BytesIO()
        self._figure.savefig(out, format="png", dpi=_DPI, facecolor=theme.PAGE)
        return out.getvalue()

    def box(self, place: Place) -> None:
        """A panel's background."""
        shape = FancyBboxPatch(
            (place.left, self._height - place.bottom),
            place.width,
            place.height,
            boxstyle="round,pad=0,rounding_size=3",
            facecolor=theme.PANEL,
            edgecolor=theme.EDGE,
            linewidth=1,
            transform=None,
            zorder=-1,  # behind axes, which are at 0
        )
        self._figure.add_artist(shape)

    def text(
        self,
        left: float,
        top: float,
        text: str,
        *,
        size: float = 13,
        color: str = theme.TEXT,
        weight: str = "normal",
        across: Literal["left", "center", "right"] = "left",
        up: Literal["top", "center"] = "top",
    ) -> float:
        """Write, and say where the text ends."""
        drawn = self._figure.text(
            left / self._width,
            1 - top / self._height,
            text,
            fontsize=size * _POINT,
            color=color,
            fontweight=weight,
            ha=across,
            va=up,
            parse_math=False,
        )
        return float(drawn.get_window_extent().x1)

    def axes(self, left: float, top: float, right: float, bottom: float) -> Axes:
        """Axes with a grid and no frame."""
        axes = self._figure.add_axes(
            (left / self._width, 1 - bottom / self._height, (right - left) / self._width, (bottom - top) / self._height)
        )
        axes.set_facecolor("none")
        axes.spines[:].set_visible(False)
        axes.grid(color=theme.GRID, linewidth=0.8)
        axes.set_axisbelow(True)
        axes.tick_params(length=0, pad=5, labelsize=11.5 * _POINT, labelcolor=theme.FAINT)
        return axes

    def legend(self, place: Place, entries: Sequence[tuple[str, str, bool]]) -> float:
        """Write names beside their colours along a panel's lower edge, in two lines at most.

        Args:
            place: The panel.
            entries: Names, colours, and whether the line is dashed.

        Returns:
            Where it begins.
        """
        lines: list[list[tuple[str, str, bool]]] = [[]]
        left, most = 0.0, place.width - 24
        for number, entry in enumerate(entries):
            width = self._measured(entry[0]) + 38
            if left + width > most and lines[-1]:
                if len(lines) == _LEGEND_LINES:
                    lines[-1].append((f"+{len(entries) - number} more", "", False))
                    break
                lines.append([])
                left = 0.0
            lines[-1].append(entry)
            left += width
        top = place.bottom - 8 - _LEGEND_LINE * len(lines)
        for row, line in enumerate(lines):
            self._legend_line(place.left + 12, top + row * _LEGEND_LINE, line)
        return top

    def _legend_line(self, left: float, top: float, line: Sequence[tuple[str, str, bool]]) -> None:
        for name, color, is_dashed in line:
            if color:
                y = 1 - (top + 9) / self._height
                xs = (left / self._width, (left + 14) / self._width)
                mark = Line2D(xs, (y, y), color=color, linewidth=2.6, solid_capstyle="round")
                if is_dashed:
                    mark.set_dashes((1.5, 0.9))
                self._figure.add_artist(mark)
            left = self.text(left + 20, top + 2, name, size=12, color=theme.TEXT) + 18

    def _measured(self, text: str) -> float:
        drawn = self._figure.text(0, 0, text, fontsize=12 * _POINT, parse_math=False)
        width = drawn.get_window_extent().width
        drawn.remove()
        return float(width)
