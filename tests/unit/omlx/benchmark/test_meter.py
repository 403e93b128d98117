"""What is measured of an engine whose speed is known."""

import asyncio

import pytest

from actors.errors import ContextLengthError, EngineError, ModelLoadError
from omlx.benchmark.errors import SizeError
from omlx.benchmark.meter import Meter
from omlx.benchmark.plan import Size
from scheduler.stats import SchedulerStats
from tests.fakes.services import CUT, FakeServices
from tests.fakes.timed_services import PROMPT_SECONDS, STEP_SECONDS, TimedServices

PAIR = Size(100, 2)


def measure(services, size=PAIR, output_tokens=5, times=1):
    async def run():
        meter = Meter(services, await services.find("tiny"), output_tokens, services.clock)
        async with asyncio.timeout(20):
            await meter.prepare()
            return meter, [await meter.measure(size) for _ in range(times)]

    return asyncio.run(run())


def test_each_figure_of_a_batch():
    _, (figures,) = measure(TimedServices())
    assert figures.prompt_tokens == 100
    assert figures.ttft == pytest.approx(1.5)  # 1 and 2 s: prompts are computed one after the other
    assert figures.prefill_tokens_per_second == pytest.approx(1 / PROMPT_SECONDS)
    assert figures.cached_tokens == 99
    second = 2 * PROMPT_SECONDS + STEP_SECONDS  # the first one's second token is between the two
    assert figures.hit_ttft == pytest.approx((PROMPT_SECONDS + second) / 2)
    assert figures.hit_tokens_per_second == pytest.approx(200 / second)
    assert figures.decode_tokens_per_second == pytest.approx(2 / STEP_SECONDS)
    assert figures.decode_tokens_per_second_each == pytest.approx(1 / STEP_SECONDS)


def test_one_request_alone():
    _, (figures,) = measure(TimedServices(), Size(50, 1))
    assert figures.ttft == pytest.approx(50 * PROMPT_SECONDS)
    assert figures.decode_tokens_per_second == figures.decode_tokens_per_second_each == pytest.approx(1 / STEP_SECONDS)


def test_prompts_are_new_each_time_and_then_sent_again():
    services = TimedServices()
    measure(services, Size(100, 3), times=2)
    texts = [job.prompt.text for job in services.jobs][1:]
    first, again, second, _ = (texts[start : start + 3] for start in range(0, 12, 3))
    assert first == again
    assert len({*first, *second}) == 6
    assert len({" ".join(text.split()[:8]) for text in (*first, *second)}) == 6
    assert {len(text.split()) for text in texts} == {50}  # a word has two tokens, as the first request has told
    for job in services.jobs:
        assert (job.sampling.temperature, job.ignore_eos, job.n) == (0.0, True, 1)
    assert len({job.request_id for job in services.jobs}) == len(services.jobs)


def test_nothing_that_is_found_by_chance_counts_as_computed():
    class Lucky(TimedServices):
        """Always finds the first half of a prompt."""

        def _next(self, answer):
            answer.cached = answer.prompt_tokens // 2
            return super()._next(answer)

    _, (figures,) = measure(Lucky(), Size(100, 1))
    assert figures.prefill_tokens_per_second == pytest.approx(50 / (100 * PROMPT_SECONDS))


def test_requests_that_can_t_run_at_the_same_time_are_no_batch():
    services = TimedServices(rows=2)
    with pytest.raises(SizeError, match="max_concurrent_requests"):
        measure(services, Size(100, 3))
    assert {job.max_tokens for job in services.jobs} == {1, 22}  # longer answers wouldn't help


def test_decoding_is_measured_though_nothing_is_found_computed():
    _, (figures,) = measure(TimedServices(reuse=False), Size(100, 6))
    assert figures.cached_tokens == 0
    assert figures.hit_ttft >= figures.ttft
    assert figures.decode_tokens_per_second == pytest.approx(6 / STEP_SECONDS)


def test_also_where_those_that_begin_first_are_far_ahead():
    services = TimedServices(reuse=False, rows=40)
    _, (figures,) = measure(services, Size(100, 32))
    assert figures.decode_tokens_per_second == pytest.approx(32 / STEP_SECONDS)
    assert {job.max_tokens for job in services.jobs} == {1, 22, 262}


def test_what_does_not_fit_the_context_is_said():
    with pytest.raises(ContextLengthError):
        measure(TimedServices(context=410), Size(1000, 1))
    with pytest.raises(SizeError, match="context has no room for 6 tokens"):
        measure(TimedServices(context=412), Size(410, 1))


def test_requests_of_others_are_seen():
    assert measure(TimedServices())[0].other_requests == 0
    assert measure(TimedServices(others=3))[0].other_requests == 3
    elsewhere = FakeServices(models=("tiny", "other"))  # both have five
    elsewhere.clock = iter(range(1000)).__next__

    async def look():
        meter = Meter(elsewhere, await elsewhere.find("tiny"), 2, elsewhere.clock)
        await meter.prepare()
        assert meter.other_requests == 0
        await meter.measure(Size(16, 1))
        return meter.other_requests

    assert asyncio.run(look()) == 5 + 5


@pytest.mark.parametrize("left", [0, 1, 2])
def test_also_those_that_come_while_some_of_ours_have_ended(left):
    class Joined(TimedServices):
        """Somebody else is there while so many of the first three prompts are left."""

        def engine_stats(self):
            self._others = len(self.answers) == 4 and len(self._running) == left
            return super().engine_stats()

    meter, _ = measure(Joined(), Size(100, 3))
    assert meter.other_requests == 1


def test_also_those_that_are_gone_before_our_first_token(monkeypatch):
    monkeypatch.setattr("omlx.benchmark.meter._WATCH_SECONDS", 0)

    class Brief(TimedServices):
        """Takes the second batch once it has been looked at, and is busy with two until then."""

        waits, seen = False, asyncio.Event()

        def clock(self):
            self.now += 1
            return self.now

        async def submit(self, served, job):
            if self.answers:
                self.waits = True
                await self.seen.wait()
            return await super().submit(served, job)

        def engine_stats(self):
            if self.seen.is_set() or not self.waits:
                return super().engine_stats()
            self.seen.set()
            return {"tiny": SchedulerStats(running=2)}

    assert measure(Brief(), Size(100, 1))[0].other_requests == 1  # the other one may be ours


def test_when_it_is_cancelled_every_request_is_given_up():
    async def run():
        services = TimedServices(halt=5)
        meter = Meter(services, await services.find("tiny"), 5, services.clock)
        await meter.prepare()
        measuring = asyncio.create_task(meter.measure(Size(100, 3)))
        await services.halted.wait()
        measuring.cancel()
        with pytest.raises(asyncio.CancelledError):
            await measuring
        return services

    services = asyncio.run(run())
    assert len(services.answers) == 7
    assert all(answer.closed for answer in services.answers)
    assert services.engine_stats()["tiny"].running == 0


def test_when_one_request_fails_the_others_are_given_up():
    class Failing(TimedServices):
        async def submit(self, served, job):
            if len(self.answers) == 3:
                raise EngineError("tiny", "it broke")
            return await super().submit(served, job)

    async def run(services):
        meter = Meter(services, await services.find("tiny"), 5, services.clock)
        await meter.prepare()
        async with asyncio.timeout(10):
            await meter.measure(Size(100, 3))

    services = Failing(halt=2)  # the others would never end by themselves
    with pytest.raises(EngineError, match="it broke"):
        asyncio.run(run(services))
    assert len(services.answers) == 3
    assert all(answer.closed for answer in services.answers)


def test_an_answer_without_an_end_is_a_failure():
    services = FakeServices(script=("a", CUT))
    services.clock = iter(range(1000)).__next__
    with pytest.raises(EngineError, match="too early"):
        measure(services)
    assert [answer.closed for answer in services.answers] == [1]


def test_a_model_that_can_t_be_loaded_is_said():
    with pytest.raises(ModelLoadError):
        measure(TimedServices(refusal=ModelLoadError("tiny", "broken")))
