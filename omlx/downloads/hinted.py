"""How a download that finds no such model says which names are like it."""

from collections.abc import Sequence
from pathlib import Path

from omlx.downloads.download import Download
from omlx.downloads.errors import UnknownModelError
from omlx.downloads.source import Source


class HintedDownload:
    """A download that, of a name that isn't there, says which are like it.

    Args:
        download: It.
        source: Where it is from.
        name: What was asked for.
    """

    def __init__(self, download: Download, source: Source, name: str) -> None:
        self._download = download
        self._source = source
        self._name = name
        self.cancel = download.cancel

    def run(self) -> Path:
        """Fetch it. Raises as `Download.run` does."""
        try:
            return self._download.run()
        except UnknownModelError as error:
            raise UnknownModelError(f"{error}{_hint(self._source.nearest(self._name))}") from error


def _hint(names: Sequence[str]) -> str:
    """A question to put behind an error: whether one of these names was meant."""
    if not names:
        return ""
    return f" Did you mean {' or '.join((', '.join(names[:-1]), names[-1]) if len(names) > 1 else names)}?"
