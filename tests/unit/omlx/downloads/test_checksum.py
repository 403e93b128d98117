"""Checksums are those that Git and Git LFS have."""

import hashlib

import pytest

from omlx.downloads.checksum import Checksum


def test_forty_digits_are_git_s():
    digest = Checksum("ce013625030ba8dba906f756967f9e9ca394464a").digest(6)  # of `git hash-object` for "hello\n"
    digest.update(b"hel")
    digest.update(b"lo\n")
    assert digest.hexdigest() == "ce013625030ba8dba906f756967f9e9ca394464a"


def test_sixty_four_digits_are_the_content_s():
    value = hashlib.sha256(b"hello\n").hexdigest()
    digest = Checksum(value).digest(6)
    digest.update(b"hello\n")
    assert digest.hexdigest() == value


@pytest.mark.parametrize("value", ["", "ce01", "../" * 13 + "x", "CE013625030BA8DBA906F756967F9E9CA394464A", "a" * 41])
def test_anything_else_is_none(value):
    with pytest.raises(ValueError, match="no checksum"):
        Checksum(value)
