"""One answer as its tokens come: its text, its reasoning, its calls, and where it stops."""

from collections.abc import Sequence

from actors.engine.layout import LayoutFilter
from actors.engine.splitter import Said, Splitter, joined
from actors.engine.text import Detokenizer, StopMatcher, Tokenizer, special_tokens
from actors.ocr import Layout


class AnswerText:
    """Turns one answer's tokens into what is said.

    Args:
        tokenizer: The model's.
        stop: Texts that end the answer, looked for in its text alone.
        layout: The model's marks of layout, which are part of the answer though they are special tokens.
        clean: Leave them out all the same, before stop texts are looked for.
        splitter: Takes reasoning and calls out of the text; without it, all is text.

    Attributes:
        has_called: Whether a call has been shown.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        stop: Sequence[str],
        layout: Layout | None = None,
        *,
        clean: bool = False,
        splitter: Splitter | None = None,
    ) -> None:
        self._detokenizer = Detokenizer(tokenizer, layout)
        self._splitter = splitter
        self._special = {} if splitter is None else special_tokens(tokenizer, layout)
        self._filter = LayoutFilter(layout) if layout is not None and clean else None
        self._matcher = StopMatcher(stop)
        self.has_called = False

    @property
    def stopped(self) -> bool:
        """Whether it is over before the model ends it: a stop text has come, or the only call."""
        return bool(self._matcher.matched) or (self._splitter is not None and self._splitter.is_over)

    @property
    def stop_text(self) -> str:
        """The stop text that has come, if one has."""
        return self._matcher.matched

    @property
    def is_reasoning(self) -> bool:
        """Whether the next token belongs to its reasoning."""
        return self._splitter is not None and self._splitter.is_reasoning

    def add(self, token: int) -> list[Said]:
        """Take the next token; what can be shown now."""
        if self._splitter is None:
            text = self._matcher.add(self._cleaned(self._detokenizer.add(token)))
            return [Said(text=text)] if text else []
        special = self._special.get(token)
        if special is None:
            return self._stopped(self._splitter.add(self._detokenizer.add(token)))
        return self._stopped(self._splitter.add(special)) if self._splitter.wants(special) else []

    def finish(self, *, is_whole: bool = True) -> list[Said]:
        """What is left to show at the end; `is_whole` where the model ended it, and it wasn't cut off."""
        text = self._detokenizer.flush()
        if self._splitter is None:
            said = [Said(text=text)]
        else:
            said = [*self._splitter.add(text), *self._splitter.finish(is_whole=is_whole)]
        return joined([*self._stopped(said), Said(text=self._held_back())])

    def _stopped(self, said: Sequence[Said]) -> list[Said]:
        """The same up to a stop text. None goes on behind reasoning or calls."""
        shown: list[Said] = []
        for reasoning, text, calls in said:
            if self._matcher.matched:
                break
            before = self._held_back() if reasoning else ""
            new = self._matcher.add(self._cleaned(text))
            if calls:
                new += self._held_back()
            kept = () if self._matcher.matched else calls
            self.has_called = self.has_called or bool(kept)
            shown += [Said(text=before), Said(reasoning, new, kept)]
        return joined(shown)

    def _cleaned(self, text: str) -> str:
        return text if self._filter is None else self._filter.add(text)

    def _held_back(self) -> str:
        """What may have become a mark of layout or a stop text, and will not any more."""
        left = "" if self._filter is None else self._matcher.add(self._filter.flush())
        return left + self._matcher.flush()
