"""A README as a page or a terminal may show it."""

import re

_LONGEST = 64 << 10  # bytes
_FRONT_MATTER = re.compile(r"---[ \t]*\n.*?^(?:---|\.\.\.)[ \t]*(?:\n|\Z)", re.DOTALL | re.MULTILINE)
# What moves a terminal's cursor, and what turns the direction of text around; tabs and ends of lines stay.
_COMMANDS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def readable(readme: bytes) -> str:
    """Its text, without the YAML that stands before it for programs and without control characters; 64 KiB at the most."""
    text = readme.decode("utf-8-sig", "replace").replace("\r\n", "\n")
    if front := _FRONT_MATTER.match(text):
        text = text[front.end() :]
    text = _COMMANDS.sub("", text).strip("\n")
    return text.encode()[:_LONGEST].decode(errors="ignore")
