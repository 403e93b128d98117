"""Why a model can't be fetched, as one tree.

DownloadError
├── UnknownModelError     there is no such model, or it may not be seen
├── UnknownRevisionError  there is no such revision of it, or no such file
├── AccessError           it is private or gated, and the token doesn't open it
├── InvalidTokenError     what was given as a token can't be one
├── OfflineError          this machine was told to make no request
├── EndpointError         what answers there isn't the hub, or answers wrongly
├── UnsuitableError       it isn't a model for MLX, or a name in it can't be trusted
├── OccupiedError         its place is taken: by another model, or by another process that fetches it
├── StorageError          it can't be stored: no space, no permission
├── ChecksumError         a file isn't what the hub says it is
├── UnreachableError      the line stayed bad for as many tries as there are
├── CancelledError        somebody had it end
├── TooManyError          as many wait as may
├── UnknownTaskError      there is no such download
└── BrokenOffError        the process that fetches ended meanwhile
"""

from collections.abc import Sequence

from actors.errors import OmlxError


class DownloadError(OmlxError):
    """A model could not be fetched; carries what the failed command said last, if there was one."""

    def __init__(self, reason: str, output: Sequence[str] = ()) -> None:
        self.output = tuple(output)
        super().__init__("\n  ".join((reason, *self.output)))


class UnknownModelError(DownloadError):
    """There is no such model, or it may not be seen."""


class UnknownRevisionError(DownloadError):
    """There is no such revision of it, or no such file."""


class AccessError(DownloadError):
    """It is private or gated, and the token, or the lack of one, doesn't open it."""


class InvalidTokenError(DownloadError):
    """What was given as a token can't be one; the error doesn't repeat it."""


class OfflineError(DownloadError):
    """This machine was told to make no request."""


class EndpointError(DownloadError):
    """What answers there isn't the hub, or answers wrongly."""


class UnsuitableError(DownloadError):
    """It isn't a model for MLX, or a name in it can't be trusted."""


class OccupiedError(DownloadError):
    """Its place is taken: by another model, or by another process that fetches it."""


class StorageError(DownloadError):
    """It can't be stored: there is no space, or no permission."""


class ChecksumError(DownloadError):
    """A file isn't what the hub says it is, although it was fetched anew."""


class UnreachableError(DownloadError):
    """The line stayed bad for as many tries as there are."""


class CancelledError(DownloadError):
    """Somebody had it end; what was fetched is kept."""


class TooManyError(DownloadError):
    """As many downloads wait as may."""


class UnknownTaskError(DownloadError):
    """There is no such download."""


class BrokenOffError(DownloadError):
    """The process that fetches ended before it answered."""


class TransientError(Exception):
    """A request failed in a way that may have passed when it is made again; never leaves this package.

    Attributes:
        after: Seconds that the other side asks to wait.
    """

    def __init__(self, reason: str, after: float | None = None) -> None:
        self.after = after
        super().__init__(reason)
