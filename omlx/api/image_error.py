"""What is wrong with a picture, before it is known where in a request it stands."""

INVALID_IMAGE = "invalid_image"


class ImageError(Exception):
    """A picture isn't taken.

    Args:
        reason: Goes on from "The picture at …".
        code: A word for programs.
    """

    def __init__(self, reason: str, *, code: str = INVALID_IMAGE) -> None:
        self.code = code
        super().__init__(reason)


def too_many_bytes(limit: int) -> ImageError:
    """A picture's file is too large."""
    return ImageError(f"is too large: at most {limit} bytes are taken.", code="image_too_large")
