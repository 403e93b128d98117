"""The one thread that touches a model: it loads it, then works with it as it is told by commands."""

import queue
import threading
from abc import abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

LoadedT = TypeVar("LoadedT")


@dataclass(frozen=True, slots=True)
class Loading(Generic[LoadedT]):
    """Whom the thread tells what becomes of its model; called on the thread itself.

    Attributes:
        loaded: It is there.
        failed: It couldn't be loaded, and the thread ends.
        broke: Working with it raised, and the thread ends; the model's state can't be trusted any more.
    """

    loaded: Callable[[LoadedT], None]
    failed: Callable[[Exception], None]
    broke: Callable[[Exception], None]


class Stop:
    """A command: end the thread."""


class ModelThread(threading.Thread):
    """Commands come in by a queue, and what comes of them goes out by callbacks."""

    def __init__(self, name: str, loading: Loading[Any]) -> None:
        super().__init__(name=name, daemon=True)
        self._loading = loading
        self._inbox: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def put(self, command: Any) -> None:
        """Hand the thread a command, to be obeyed before it computes again. May be called from any thread."""
        self._inbox.put(command)

    def stop(self) -> None:
        """Tell it to end, after what it is computing."""
        self._inbox.put(Stop())

    def run(self) -> None:
        """Load, then work until told to stop."""
        try:
            work = self._load()
        except Exception as error:
            self._loading.failed(error)
            return
        try:
            work()
        except Exception as error:
            self._loading.broke(error)

    @abstractmethod
    def _load(self) -> Callable[[], None]:
        """Load the model and tell so; what is to be done then, until `Stop` comes."""

    def _commands(self, *, wait: bool) -> Iterator[Any]:
        """What has been handed in; waits for the first when there is nothing else to do."""
        if wait:
            yield self._inbox.get()
        while not self._inbox.empty():
            yield self._inbox.get()
