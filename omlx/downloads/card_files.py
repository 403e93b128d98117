"""Which of a model's files its card is made of, and how much of them."""

from omlx.downloads.errors import AccessError
from omlx.downloads.repository import Listing, RemoteFile, Repository

_README_BYTES = 512 << 10
_CONFIG_BYTES = 4 << 20


def card_files(repository: Repository, listing: Listing) -> tuple[bytes | None, bytes | None, str | None]:
    """Its README's beginning and its configuration, None where there is none, and why they may not be read, if so.

    Raises `TransientError`, and `DownloadError` other than `AccessError`: what a gated repository is about may be seen without them.
    """
    try:
        readme = _content(repository, listing, "README.md", _README_BYTES)
        config = _content(repository, listing, "config.json", _CONFIG_BYTES)
    except AccessError as error:
        return None, None, str(error)
    if config is not None and len(config) > _CONFIG_BYTES:
        config = b""  # no configuration is as long as that
    return readme, config, None


def _content(repository: Repository, listing: Listing, path: str, most: int) -> bytes | None:
    """What a file has, up to a little more than so many bytes; None where there is none."""
    file: RemoteFile | None = next((each for each in listing.files if each.path == path), None)
    if file is None:
        return None
    content = bytearray()
    with repository.read(listing.commit, file, 0) as body:
        for chunk in body.chunks:
            content += chunk
            if len(content) > most:
                break
    return bytes(content)
