"""A picture is taken as it is, or it is said what is wrong with it."""

import random
import struct
import zlib
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omlx.api.image_check import FORMATS, ImageChecks, check_image, data_of, is_data_url
from omlx.api.image_error import ImageError
from tests.fakes.pictures import claimed_png, data_url, picture

MANY = 10**9


def refusal(data, max_pixels=MANY):
    with pytest.raises(ImageError) as caught:
        check_image(data, max_pixels)
    return str(caught.value), caught.value.code


@pytest.mark.parametrize("kind", FORMATS)
def test_a_whole_picture_is_taken(kind):
    assert check_image(picture(kind), 48) == 48


def test_a_camera_s_picture_with_a_preview_beside_it_is_one():
    check_image(picture("MPO", 16, 16, frames=2), MANY)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"])
def test_a_picture_that_ends_too_early_is_refused(kind):
    whole = picture(kind, 64, 64)
    for part in (0.3, 0.6, 0.9):
        reason, code = refusal(whole[: int(len(whole) * part)])
        assert reason.startswith(("ends too early", "is broken", "can't be read"))
        assert code == "invalid_image"
    assert "0x" not in reason


def test_the_end_is_told_from_other_damage():
    whole = picture("JPEG", 64, 64)
    assert refusal(whole[: len(whole) // 2])[0] == "ends too early: it can't be decoded."
    png = bytearray(picture("PNG", 64, 64))
    png[60:80] = bytes(20)
    assert refusal(bytes(png))[0] == "is broken: it can't be decoded."


@pytest.mark.parametrize(
    "data", [b"hello", b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"%PDF-1.7", b"%!PS-Adobe-3.0 EPSF-3.0\n"]
)
def test_what_is_no_picture_is_refused(data):
    assert refusal(data) == (
        "can't be read: it is no PNG, JPEG, WebP, GIF, BMP, TIFF or AVIF file, or its beginning is broken.",
        "invalid_image",
    )


def test_nothing_is_no_picture():
    assert refusal(b"")[0] == "is empty."
    for size in ((0, 0), (5, 0)):
        assert refusal(claimed_png(*size))[1] == "invalid_image"


@pytest.mark.parametrize("size", [(20_000, 20_000), (10_001, 10_000), (2**31 - 1, 1)])
def test_pixels_are_bounded_before_any_is_decoded(size):
    reason, code = refusal(claimed_png(*size), 100_000_000)
    width, height = size
    assert reason == f"is too large: {width} x {height} are {width * height} pixels, and at most 100000000 are taken."
    assert code == "image_too_large"


def test_as_many_pixels_as_may_be_are_taken():
    check_image(picture("JPEG", 64, 6), 384)
    assert refusal(picture("JPEG", 64, 6), 383)[1] == "image_too_large"


def test_a_text_beside_the_pixels_that_inflates_to_much_is_refused():
    whole = picture()
    data = b"a\0\0" + zlib.compress(bytes(5_000_000))
    bomb = struct.pack(">I", len(data)) + b"zTXt" + data + struct.pack(">I", zlib.crc32(b"zTXt" + data))
    assert refusal(whole[:33] + bomb + whole[33:])[1] == "invalid_image"


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF", "AVIF"])
def test_pictures_that_move_are_refused(kind):
    assert refusal(picture(kind, 16, 16, frames=3))[0] == "has several frames or pages; send one as a picture of its own."


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "TIFF"])
def test_damage_of_any_kind_is_a_refusal_at_most(kind):
    whole, draw = picture(kind, 32, 32), random.Random(7)  # noqa: S311
    for _ in range(60):
        data = bytearray(whole)
        for _ in range(draw.randrange(1, 20)):
            data[draw.randrange(len(data))] = draw.randrange(256)
        with suppress(ImageError):
            check_image(bytes(data), 1_000_000)


def test_a_whole_picture_is_decoded_once_as_long_as_it_is_remembered():
    decoded = []

    def check(data, max_pixels):
        decoded.append(data)
        return check_image(data, max_pixels)

    checks = ImageChecks(check, kept=2)
    png, jpeg, gif = picture("PNG"), picture("JPEG"), picture("GIF")
    for data in png, jpeg, png, gif, png, jpeg:
        checks.check(data, MANY)
    assert decoded == [png, jpeg, gif, jpeg]
    for _ in range(2):
        with pytest.raises(ImageError, match="at most 47"):
            checks.check(jpeg, 47)
        with pytest.raises(ImageError):
            checks.check(png[:60], MANY)


DATA = picture()
ENCODED = data_url(DATA).partition(",")[2]


@pytest.mark.parametrize(
    "url",
    [
        data_url(DATA),
        data_url(DATA, "image/jpeg"),  # what it is, its content says
        data_url(DATA, "IMAGE/PNG"),
        data_url(DATA, ""),
        data_url(DATA, "image/png;charset=utf-8"),
        f"DATA:image/png;BASE64,{ENCODED}",
        f"data:image/png;base64, {ENCODED[:40]}\r\n{ENCODED[40:]}\n",
    ],
)
def test_a_data_url_is_its_file(url):
    assert is_data_url(url)
    assert data_of(url, len(DATA)) == DATA


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        (f"data:image/png,{ENCODED}", "isn't base64: its URL must begin like 'data:image/png;base64,'."),
        (f"data:image/png;base64{ENCODED}", "isn't base64: its URL must begin like 'data:image/png;base64,'."),
        ("data:", "isn't base64: its URL must begin like 'data:image/png;base64,'."),
        (data_url(DATA, "text/html"), "is of the type 'text/html', which is no picture's."),
        (f"data:image/png;base64,{ENCODED}!", "isn't valid base64."),
        ("data:image/png;base64,AAA", "isn't valid base64."),
        ("data:image/png;base64,AA==AA==", "isn't valid base64."),
        ("data:image/png;base64,ÄÖÜÄ", "isn't valid base64."),
        ("data:image/png;base64,\ud800AAA", "isn't valid base64."),
        ("data:image/png;base64,%41AAA", "isn't valid base64."),
    ],
)
def test_a_data_url_that_is_none_is_refused(url, reason):
    with pytest.raises(ImageError) as caught:
        data_of(url, MANY)
    assert (str(caught.value), caught.value.code) == (reason, "invalid_image")


def test_an_empty_data_url_is_an_empty_file():
    assert data_of("data:image/png;base64,", 5) == b""


@pytest.mark.parametrize("limit", [len(DATA) - 1, 5])
def test_bytes_are_bounded(limit):
    with pytest.raises(ImageError, match=f"is too large: at most {limit} bytes are taken") as caught:
        data_of(data_url(DATA), limit)
    assert caught.value.code == "image_too_large"


@settings(max_examples=100)
@given(st.text())
def test_any_text_is_a_file_or_refused(text):
    with suppress(ImageError):
        assert isinstance(data_of(f"data:{text}", 1000), bytes)
