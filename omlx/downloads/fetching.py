"""How wishes come true with the process' settings: which place, which token, which folder, how fast."""

from collections.abc import Callable

from omlx.downloads import staging
from omlx.downloads.download import Download, Manner, Watcher
from omlx.downloads.errors import StorageError
from omlx.downloads.hinted import HintedDownload
from omlx.downloads.pace import Pace
from omlx.downloads.repository import Origin
from omlx.downloads.selection import Selection
from omlx.downloads.source import Source
from omlx.downloads.sources import open_source
from omlx.downloads.task import Wish
from omlx.settings import ServeSettings


class SettingsFetching:
    """See `download_queue.Fetching`. The settings are read anew for each download.

    Args:
        asked: The settings that hold now.
    """

    def __init__(self, asked: Callable[[], ServeSettings]) -> None:
        self._asked = asked
        self._pace = Pace(None)  # all downloads share it
        self._is_answering = False

    def source(self, kind: str) -> Source:
        """A place by its kind."""
        return open_source(kind, self._asked())

    def at_once(self) -> int:
        """How many may be fetched at a time."""
        return self._asked().downloads_at_once

    def open(self, wish: Wish, watcher: Watcher) -> HintedDownload:
        """A download that has not begun."""
        asked = self._asked()
        self._keep_to(asked)
        source = open_source(wish.source, asked)
        manner = Manner(Selection(wish.allow, wish.ignore), pace=self._pace)
        repository = source.repository(wish.repository, wish.revision)
        return HintedDownload(Download(repository, asked.model_dirs[0], wish.name, watcher, manner), source, wish.repository)

    def answering(self, is_answering: bool) -> None:
        """Take note of whether a model answers just now."""
        self._is_answering = is_answering
        self._keep_to(self._asked())

    def _keep_to(self, asked: ServeSettings) -> None:
        limits = [asked.max_download_speed, asked.max_download_speed_while_answering if self._is_answering else None]
        self._pace.bytes_per_second = min(filter(None, limits), default=None)

    def discard(self, wish: Wish) -> None:
        """Delete what has come of an unfinished one. Raises `OccupiedError` when it is another's, or another process fetches it."""
        folder = self._asked().model_dirs[0].absolute()
        try:
            with staging.held(folder, wish.name, Origin(wish.source, wish.repository, wish.revision)) as held:
                held.discard()
        except OSError as error:
            raise StorageError(f"What has come of {wish.repository} can't be deleted: {error.strerror or error}.") from error
