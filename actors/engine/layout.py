"""Takes the marks of layout out of a text that comes piece by piece."""

import re

from actors.ocr import Layout


class LayoutFilter:
    """Leaves marks of layout out, and holds back what may yet become one.

    However the text is cut, what comes out is what `re.sub` would leave of the whole.
    """

    def __init__(self, layout: Layout) -> None:
        self._marks = re.compile(layout.marks)
        self._begun = re.compile(rf"(?:{layout.begun})\Z")
        self._held = ""

    def add(self, text: str) -> str:
        """Take more text; what is certain to be none of layout."""
        held = self._held + text
        shown: list[str] = []
        at = 0
        while True:
            begun = self._begun.search(held, at)
            mark = self._marks.search(held, at)
            if mark is None or (begun is not None and begun.start() <= mark.start()):
                break
            shown.append(held[at : mark.start()])
            at = mark.end()
        end = len(held) if begun is None else begun.start()
        self._held = held[end:]
        return "".join([*shown, held[at:end]])

    def flush(self) -> str:
        """What was held back and is no mark, now that no more text comes."""
        shown = self._marks.sub("", self._held)
        self._held = ""
        return shown
