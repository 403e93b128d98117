"""Pictures of any size and kind, small in bytes, and their data URLs."""

import struct
import zlib
from base64 import b64encode
from functools import lru_cache
from io import BytesIO

from PIL import Image


@lru_cache
def picture(kind: str = "PNG", width: int = 8, height: int = 6, frames: int = 1) -> bytes:
    """A file of noise; with several frames, an animation."""
    noise = [Image.effect_noise((width, height), 60 + number).convert("RGB") for number in range(frames)]
    file = BytesIO()
    noise[0].save(file, kind, **({"save_all": True, "append_images": noise[1:]} if frames > 1 else {}))
    return file.getvalue()


def claimed_png(width: int, height: int) -> bytes:
    """A PNG whose header says any size, with a little data that inflates to much."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = zlib.compress(bytes(1_000_000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def data_url(data: bytes, kind: str = "image/png") -> str:
    """A file as its own URL."""
    return f"data:{kind};base64,{b64encode(data).decode()}"
