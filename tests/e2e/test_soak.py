"""Two hundred clients come, go and drop, and leave nothing behind; `python -m benchmarks.soak` does it for longer."""

import asyncio
from collections import Counter

from benchmarks.server import running_server
from benchmarks.soak import OPTIONS, left_behind, measure, random_model

CLIENTS, SECONDS = 200, 8


def test_two_hundred_clients_leave_nothing_behind(demo_models):
    with random_model(demo_models / "SmolLM2-135M-Instruct") as models, running_server(models, *OPTIONS) as server:
        before, after, tally = asyncio.run(measure(server, "tiny", SECONDS, CLIENTS))
    assert tally.wrong == []
    assert left_behind(before, after) == []
    # All of it happened.
    assert len(tally.clients) == CLIENTS
    total = sum(tally.outcomes.values(), Counter())
    assert min(total["ended"], total["left"], total["refused"]) > 50
    assert total["timed out"] > 5
    assert after.preemptions > 0
    assert after.prefix_hits > before.prefix_hits > 0
