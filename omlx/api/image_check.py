"""Whether bytes are a picture that can be read, and how large it is. Blocks; Pillow is imported when the first one comes."""

import re
from binascii import Error as NotBase64
from binascii import a2b_base64
from collections import OrderedDict
from collections.abc import Callable
from hashlib import sha256
from io import BytesIO
from threading import Lock

from omlx.api.image_error import ImageError, too_many_bytes

# Pillow knows more, but some of those run other programs, and none of them comes from a camera, a screen or the web.
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
_READABLE = "PNG, JPEG, WebP, GIF, BMP, TIFF or AVIF"
_STILL = ("JPEG", "MPO")  # cameras put a preview beside the picture, which is no second frame
_DATA_URL = re.compile(r"data:([^;,]*)((?:;[^;,]*)*),", re.IGNORECASE)
_SHOWN = 60  # characters of a wrong type that an error repeats
_KEPT = 4096
_HEAD = 256  # characters of a data URL before its data


def is_data_url(url: str) -> bool:
    """Whether a URL holds its data itself."""
    return url[:5].lower() == "data:"


def data_of(url: str, max_bytes: int) -> bytes:
    """The picture's file that a data URL holds. Raises `ImageError`."""
    head = _DATA_URL.match(url, 0, _HEAD)
    if head is None or not head[2].lower().endswith(";base64"):
        raise ImageError("isn't base64: its URL must begin like 'data:image/png;base64,'.")
    kind = head[1].strip().lower()
    if kind and not kind.startswith("image/"):
        raise ImageError(f"is of the type '{kind[:_SHOWN]}', which is no picture's.")
    text = "".join(url[head.end() :].split())  # some encoders break lines
    if len(text) // 4 * 3 > max_bytes + 3:
        raise too_many_bytes(max_bytes)
    try:
        data = a2b_base64(text, strict_mode=True)
    except (NotBase64, ValueError) as error:
        raise ImageError("isn't valid base64.") from error
    if len(data) > max_bytes:
        raise too_many_bytes(max_bytes)
    return data


def check_image(data: bytes, max_pixels: int) -> int:
    """The pixels of a picture that is whole and isn't too large; it is decoded only once its header says so. Raises `ImageError`."""
    from PIL import Image, UnidentifiedImageError

    Image.MAX_IMAGE_PIXELS = None  # the bound is `max_pixels`; Pillow's own stops before it says how large the picture is
    if not data:
        raise ImageError("is empty.")
    try:
        image = Image.open(BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError as error:
        raise ImageError(f"can't be read: it is no {_READABLE} file, or its beginning is broken.") from error
    except Exception as error:  # decoders raise whatever they come across
        raise ImageError("is broken.") from error
    with image:
        width, height = image.size
        if width < 1 or height < 1:
            raise ImageError(f"is empty: {width} x {height} pixels.")
        if width * height > max_pixels:
            raise ImageError(
                f"is too large: {width} x {height} are {width * height} pixels, and at most {max_pixels} are taken.",
                code="image_too_large",
            )
        try:
            moving = image.format not in _STILL and getattr(image, "is_animated", False)
            if not moving:
                image.draft("RGB", (1, 1))  # a JPEG is read to its end all the same, and decoded as small as can be
                image.load()
        except Exception as error:
            reason = "ends too early" if "truncated" in str(error) else "is broken"
            raise ImageError(f"{reason}: it can't be decoded.") from error
        if moving:
            raise ImageError("has several frames or pages; send one as a picture of its own.")
        return width * height


class ImageChecks:
    """Checks pictures, and remembers those that were whole: a conversation brings the same ones with every turn. For any thread.

    Args:
        check: Checks one, as `check_image`.
        kept: How many are remembered, those that came up last.
    """

    def __init__(self, check: Callable[[bytes, int], int] = check_image, kept: int = _KEPT) -> None:
        self._check = check
        self._kept = kept
        self._pixels: OrderedDict[bytes, int] = OrderedDict()  # by what the file hashes to
        self._lock = Lock()

    def check(self, data: bytes, max_pixels: int) -> None:
        """See that a picture is whole and isn't too large. Raises `ImageError`."""
        digest = sha256(data).digest()
        with self._lock:
            pixels = self._pixels.get(digest)
        if pixels is None or pixels > max_pixels:
            pixels = self._check(data, max_pixels)
        with self._lock:
            self._pixels[digest] = pixels
            self._pixels.move_to_end(digest)
            if len(self._pixels) > self._kept:
                self._pixels.popitem(last=False)
