"""Sequences of one prompt, which one of them feeds for all: who waits for whom. Knows no rows and no room."""

from collections.abc import Iterator

from scheduler.request import Sequence


class Siblings:
    """The sequences that wait for another one's prompt, under that one: their leader."""

    def __init__(self) -> None:
        self._followers: dict[Sequence, list[Sequence]] = {}
        self._leaders: dict[Sequence, Sequence] = {}

    def follow(self, leader: Sequence, followers: list[Sequence]) -> None:
        """Let some wait for a leader that nobody follows yet."""
        assert leader not in self._followers, f"{leader.request_id!r} is followed already"
        if followers:
            self._followers[leader] = followers
            self._leaders.update(dict.fromkeys(followers, leader))

    def of(self, leader: Sequence) -> list[Sequence]:
        """Those who wait for a leader, in their order; to be looked at, not changed."""
        return self._followers.get(leader, [])

    def take(self, leader: Sequence) -> list[Sequence]:
        """Those who wait for a leader, who wait for it no longer."""
        followers = self._followers.pop(leader, [])
        for follower in followers:
            del self._leaders[follower]
        return followers

    def remove(self, follower: Sequence) -> None:
        """Forget one that waits; one that doesn't is no error."""
        leader = self._leaders.pop(follower, None)
        if leader is None:
            return
        self._followers[leader].remove(follower)
        if not self._followers[leader]:
            del self._followers[leader]

    def check_integrity(self) -> None:
        """Raise `AssertionError` unless each waits for one that is still to feed the same prompt for the first time."""
        assert set(self._leaders) == {each for followers in self._followers.values() for each in followers}
        for follower, leader in self._leaders.items():
            assert follower in self._followers[leader]
            assert leader not in self._leaders, "a sibling waits for one that waits itself"
            assert not leader.output, "a sibling waits for a prompt that is there"
            assert follower.context == leader.context, "a sibling waits for another prompt"

    def __len__(self) -> int:
        """How many wait."""
        return len(self._leaders)

    def __iter__(self) -> Iterator[Sequence]:
        """Those who wait, in no special order."""
        return iter(self._leaders)
