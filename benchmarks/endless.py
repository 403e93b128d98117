"""A stream that goes on for as long as something else is measured."""

from benchmarks.client import Recording, greedy, record


async def keep_streaming(url: str, model: str, number: int, tokens: int, recordings: list[Recording]) -> None:
    """One answer after the other, until this is cancelled. Raises `RuntimeError` when one fails.

    Args:
        url: The server.
        model: Who answers.
        number: Which stream it is, so that no two are the same.
        tokens: Of an answer.
        recordings: Gets each answer as it begins.
    """
    while True:
        recordings.append(Recording())
        await record(url, greedy(model, f"Count from {number} on.", tokens, ignore_eos=True), recordings[-1])
        if recordings[-1].error is not None:
            raise RuntimeError(recordings[-1].error)
