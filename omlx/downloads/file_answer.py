"""Whether what a place answers is the part of a file that it was asked for."""

import re

import httpx2

from omlx.downloads.errors import EndpointError
from omlx.downloads.repository import Body, RemoteFile
from omlx.downloads.web import Asked

_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")


def part_headers(offset: int) -> dict[str, str]:
    """What asks for a file from an offset on."""
    # A compressed file couldn't be continued: the places in it are those of the compressed bytes.
    return {"Accept-Encoding": "identity", **({"Range": f"bytes={offset}-"} if offset else {})}


def body_of(response: httpx2.Response, asked: Asked, file: RemoteFile, offset: int) -> Body:
    """What comes of a file. Raises `EndpointError` if it isn't that file."""
    return Body(_start(response, asked, file, offset), response.iter_bytes())


def _start(response: httpx2.Response, asked: Asked, file: RemoteFile, offset: int) -> int:
    """Where in the file an answer begins."""
    advice = f"If it is a mirror, try another one or none ({asked.kind.option})."
    kind = response.headers.get("content-type", "")
    if kind.startswith("text/html") and not file.path.endswith((".html", ".htm")):
        raise EndpointError(f"{asked.endpoint} sent a web page instead of {file.path}. {advice}")
    encoded = "content-encoding" in response.headers
    if response.status_code == httpx2.codes.PARTIAL_CONTENT:
        match = _RANGE.fullmatch(response.headers.get("content-range", ""))
        if match is None or int(match[1]) != offset or match[2] not in ("*", str(file.size)) or encoded:
            raise EndpointError(f"{asked.endpoint} sent another part of {file.path} than was asked for. {advice}")
        return offset
    length = response.headers.get("content-length")
    if length is not None and not encoded and length != str(file.size):
        raise EndpointError(
            f"{asked.endpoint} sends {length} bytes for {file.path}, and its list of files says {file.size}. {advice}"
        )
    return 0
