"""Why a model can't be converted."""

from collections.abc import Sequence

from actors.errors import OmlxError


class ConversionError(OmlxError):
    """A model could not be converted; carries what the converter said last, if it was begun."""

    def __init__(self, reason: str, output: Sequence[str] = ()) -> None:
        self.output = tuple(output)
        super().__init__("\n  ".join((reason, *self.output)))
