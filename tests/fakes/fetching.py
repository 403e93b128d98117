"""Downloads that end when they are told to."""

import threading

from omlx.downloads.download import Watcher
from omlx.downloads.errors import CancelledError
from omlx.downloads.task import Wish


class HeldDownload:
    """One that runs until `end` or `cancel`."""

    def __init__(self, wish: Wish, watcher: Watcher) -> None:
        self.wish = wish
        self.watcher = watcher
        self.has_begun = threading.Event()
        self.may_leave = threading.Event()  # cleared, it stays after it was cancelled, as one that reads in silence does
        self.may_leave.set()
        self.is_cancelled = False
        self._told = threading.Event()
        self._error: Exception | None = None

    def run(self) -> None:
        """Wait to be ended."""
        self.has_begun.set()
        self._told.wait()
        if self.is_cancelled:
            self.may_leave.wait()
            raise CancelledError("It was ended.")
        if self._error is not None:
            raise self._error

    def cancel(self) -> None:
        """See `download_queue.Running`."""
        self.is_cancelled = True
        self._told.set()

    def end(self, error: Exception | None = None) -> None:
        """Be done, or fail."""
        self._error = error
        self._told.set()


class HeldFetching:
    """See `download_queue.Fetching`.

    Attributes:
        opened: Every download, in the order of their beginnings.
        discarded: The wishes of which nothing is to be left.
    """

    def __init__(self) -> None:
        self.opened: list[HeldDownload] = []
        self.discarded: list[Wish] = []
        self._more = threading.Condition()

    def open(self, wish: Wish, watcher: Watcher) -> HeldDownload:
        """Keep it."""
        with self._more:
            self.opened.append(HeldDownload(wish, watcher))
            self._more.notify_all()
            return self.opened[-1]

    def discard(self, wish: Wish) -> None:
        """Note it."""
        self.discarded.append(wish)

    def nth(self, number: int) -> HeldDownload:
        """The download of a number, once it runs."""
        with self._more:
            assert self._more.wait_for(lambda: len(self.opened) > number, 10), f"download {number} did not begin"
        assert self.opened[number].has_begun.wait(10)
        return self.opened[number]
