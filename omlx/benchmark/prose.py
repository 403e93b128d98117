"""English prose of a wanted number of tokens, as benchmarks send it."""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

CountTokens = Callable[[str], int]

OPENING_WORDS = 8  # of some fifty each
_ADJECTIVES = [
    "old",
    "quiet",
    "bright",
    "narrow",
    "distant",
    "patient",
    "wooden",
    "careful",
    "silver",
    "hungry",
    "gentle",
    "broken",
    "early",
    "empty",
    "famous",
    "heavy",
]
_NOUNS = [
    "lighthouse",
    "keeper",
    "river",
    "market",
    "teacher",
    "garden",
    "window",
    "engine",
    "letter",
    "village",
    "doctor",
    "bridge",
    "forest",
    "station",
    "painter",
    "captain",
    "kitchen",
    "library",
    "farmer",
    "mountain",
    "neighbour",
    "orchestra",
    "harbour",
    "valley",
]
_VERBS = [
    "watched",
    "carried",
    "followed",
    "described",
    "repaired",
    "painted",
    "remembered",
    "crossed",
    "visited",
    "measured",
    "counted",
    "opened",
]
_TIMES = [
    "in the morning",
    "before the storm",
    "after dinner",
    "during the winter",
    "at the end of the day",
    "long ago",
    "every summer",
]
_TASKS = (
    "Write a long story about the {0} {1} and the {2}.",
    "Explain in detail how a {1} works, and what a {0} {2} has to do with it.",
    "Describe a day in the life of the {0} {1} near the {2}.",
    "List ten reasons why a {1} needs a {0} {2}, with a sentence for each.",
    "Write a dialogue between the {0} {1} and someone from the {2}.",
    "Compare a {0} {1} with a {2} in several paragraphs.",
)


@dataclass(frozen=True, slots=True)
class Writer:
    """Writes English of a wanted number of tokens.

    Attributes:
        count_tokens: How many tokens a text has.
        random: Where its choices come from.
    """

    count_tokens: CountTokens
    random: Random

    def task(self) -> str:
        """A short instruction whose answer is long."""
        pick = self.random.choice
        return pick(_TASKS).format(pick(_ADJECTIVES), pick(_NOUNS), pick(_NOUNS))

    def prose(self, tokens: int) -> str:
        """Sentences of at most so many tokens, and of only a few fewer."""
        words: list[str] = []
        written = 0
        while written < tokens:
            sentence = self._sentence()
            written += self.count_tokens(" " + sentence)
            words += sentence.split()
        while len(words) > 1 and self.count_tokens(" ".join(words)) > tokens:
            words.pop()
        return " ".join(words)

    def order(self, tokens: int) -> str:
        """Prose of so many tokens with an instruction at its end, together at most so many tokens and about as many."""
        task = self.task()
        return f"{self.prose(max(1, tokens - self.count_tokens(' ' + task)))} {task}"

    def opening(self) -> str:
        """A few words that no other text begins with, as far as chance can tell: nobody has computed them yet."""
        words = (*_ADJECTIVES, *_NOUNS, *_VERBS)
        return " ".join(self.random.choice(words) for _ in range(OPENING_WORDS))

    def saga(self, tokens: int) -> str:
        """About so many tokens, whose answer takes hundreds of them."""
        task = "Write a very long story, of at least twenty chapters, about this:"
        return f"{task} {self.prose(max(1, tokens - self.count_tokens(task)))}"

    def _sentence(self) -> str:
        pick = self.random.choice
        return (
            f"The {pick(_ADJECTIVES)} {pick(_NOUNS)} {pick(_VERBS)} the {pick(_NOUNS)} {pick(_TIMES)}, "
            f"and the {pick(_NOUNS)} {pick(_VERBS)} a {pick(_ADJECTIVES)} {pick(_NOUNS)}."
        )
