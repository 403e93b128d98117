"""The pictures of a conversation: from what its messages say to files that are whole, in bounds, and for a model that sees."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from actors.contracts import Image
from actors.control import ImageRules, Served
from omlx.api.errors import RequestError
from omlx.api.image_check import ImageChecks, data_of, is_data_url
from omlx.api.image_error import ImageError, too_many_bytes
from omlx.api.image_fetch import ImageFetcher
from omlx.api.openai import Message

ALL_BYTES = 32 * 1024 * 1024  # of a request's pictures together, unless one alone may have more
_THREADS = 2  # that decode: each may hold a picture of the most pixels

Fetch = Callable[[str, Callable[[int], None]], Awaitable[bytes]]


class ImageReader:
    """Reads and checks pictures, beside the event loop.

    Args:
        fetch: Gets those that are named by URL; see `ImageFetcher.fetch`.
    """

    def __init__(self, fetch: Fetch | None = None) -> None:
        self._fetch = fetch or ImageFetcher().fetch
        self._checks = ImageChecks()
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="pictures")

    async def read(self, found: Sequence[tuple[str, str]], served: Served) -> tuple[Image, ...]:
        """The pictures of a conversation, in order; several are fetched at the same time.

        Args:
            found: Where each stands in the request, and its URL.
            served: Who is to answer it, and which pictures it may be sent.

        Raises `RequestError`, which names the part, for the first one found that can't be taken.
        """
        _check_wanted(found, served)
        room = _Room(max(ALL_BYTES, served.image_rules.max_image_bytes))
        reads = [asyncio.create_task(self._read(param, url, served.image_rules, room)) for param, url in found]
        try:
            return tuple(await asyncio.gather(*reads))
        finally:
            for read in reads:
                read.cancel()

    async def _read(self, param: str, url: str, rules: ImageRules, room: "_Room") -> Image:
        try:
            return Image(await self._checked(url, rules, room), param)
        except ImageError as error:
            raise _refusal(param, str(error), error.code) from error

    async def _checked(self, url: str, rules: ImageRules, room: "_Room") -> bytes:
        in_thread = asyncio.get_running_loop().run_in_executor
        if is_data_url(url):
            data = await in_thread(self._threads, data_of, url, rules.max_image_bytes)
            room.take(len(data))
        else:
            data = await self._fetched(url, rules, room)
        await in_thread(self._threads, self._checks.check, data, rules.max_image_pixels)
        return data

    async def _fetched(self, url: str, rules: ImageRules, room: "_Room") -> bytes:
        if not rules.allow_image_urls:
            raise ImageError(
                "isn't fetched: this server takes pictures as data URLs only, like 'data:image/png;base64,…'. "
                "The setting 'allow_image_urls' would let it fetch them.",
                code="invalid_image_url",
            )
        return await self._fetch(url, room.taking(rules.max_image_bytes))


class _Room:
    """How many bytes the pictures of a request may still have together."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._left = total

    def take(self, count: int) -> None:
        """Use some. Raises `ImageError` where there is no room."""
        self._left -= count
        if self._left < 0:
            raise ImageError(
                f"is one too many: all of a request's pictures together may have {self._total} bytes.", code="image_too_large"
            )

    def taking(self, limit: int) -> Callable[[int], None]:
        """What uses some for one picture, piece by piece, up to a limit of its own."""
        own = 0

        def take(count: int) -> None:
            nonlocal own
            own += count
            if own > limit:
                raise too_many_bytes(limit)
            self.take(count)

        return take


def pictures_of(messages: Sequence[Message]) -> list[tuple[str, str]]:
    """Where each picture of a chat stands, and its URL."""
    return [
        (f"messages.{number}.content.{place}", part.image_url.url)
        for number, message in enumerate(messages)
        for place, part in enumerate(() if message.content is None or isinstance(message.content, str) else message.content)
        if part.is_image and part.image_url is not None
    ]


def _check_wanted(found: Sequence[tuple[str, str]], served: Served) -> None:
    """See that the model takes pictures at all, and so many."""
    if found and not served.model.type.sees:
        reason = f"can't be answered: '{served.name}' takes text only (it is of the type '{served.model.type}')."
        raise _refusal(found[0][0], reason, "wrong_model_type")
    most = served.image_rules.max_images_per_request
    if len(found) > most:
        raise _refusal(found[most][0], f"is one too many: a request may have {most} of them.", "too_many_images")


def _refusal(param: str, reason: str, code: str) -> RequestError:
    return RequestError(f"The picture at '{param}' {reason}", param=param, code=code)
