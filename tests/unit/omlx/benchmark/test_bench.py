"""One run at a time, from its beginning to the file that keeps it."""

import asyncio
import json

import pytest

from actors.errors import InvalidJobError, ModelLoadError
from omlx.benchmark.bench import Bench
from omlx.benchmark.errors import BenchmarkRunningError, UnknownRunError
from tests.fakes.timed_services import TimedServices

PLAN = {"lengths": (40, 20), "batches": (2, 1), "output_tokens": 4, "repetitions": 2}


async def begin(services, folder, **plan):
    bench = Bench(services, folder, services.clock)
    run = await bench.begin(await services.find("tiny"), PLAN | plan)
    return bench, run["id"]


async def ended(bench):
    """The states that were seen until nothing ran any more."""
    seen = []
    async for state in bench.watch():
        seen.append(state)
        if state["running"] is None:
            return seen
    raise AssertionError("unreachable")


def kept(folder):
    return [json.loads(file.read_text()) for file in folder.glob("*.json")]


def test_a_run_shows_how_far_it_is_and_is_kept(tmp_path):
    async def run():
        bench, run_id = await begin(TimedServices(), tmp_path)
        seen = await ended(bench)
        return seen, await bench.run(run_id), await Bench(TimedServices(), tmp_path).run(run_id)

    seen, whole, read = asyncio.run(run())
    assert kept(tmp_path) == [whole] == [read]
    assert (whole["state"], whole["error"], whole["progress"]) == ("done", None, None)
    assert whole["model"] == {"id": "tiny", "revision": "r1", "quantization": None, "architecture": "llama", "size_bytes": 1000}
    assert whole["machine"]["device"] == "cpu"
    assert {"omlx", "mlx", "cores", "load"} <= set(whole["machine"])
    sizes = [(20, 1), (20, 2), (40, 1), (40, 2)]
    assert [(cell["length"], cell["batch"]) for cell in whole["cells"]] == sizes
    assert all(cell["figures"]["prefill_tokens_per_second"] == pytest.approx(100) for cell in whole["cells"])
    assert all(len(cell["repetitions"]) == 2 for cell in whole["cells"])
    progress = [state["running"]["progress"] for state in seen if state["running"]]
    shown = {(*each["size"].values(), each["repetition"]) for each in progress if each["size"]}
    assert shown == {(*size, repetition) for size in sizes for repetition in range(3)}
    shares = [each["done"] / each["total"] for each in progress]
    assert shares == sorted(shares)
    assert (shares[0], shares[-1] < 1) == (0, True)
    assert progress[-1]["seconds_left"] > 0
    assert [run["state"] for run in seen[-1]["runs"]] == ["done"]


def test_one_at_a_time(tmp_path):
    async def run():
        services = TimedServices(halt=5)
        bench, run_id = await begin(services, tmp_path)
        await services.halted.wait()
        with pytest.raises(BenchmarkRunningError):
            await bench.begin(await services.find("tiny"), PLAN)
        with pytest.raises(BenchmarkRunningError):
            await bench.remove(run_id)
        await bench.stop()
        return services, await bench.run(run_id)

    services, run = asyncio.run(run())
    assert run["state"] == "cancelled"
    assert all(answer.closed for answer in services.answers)


def test_what_was_measured_before_a_cancellation_is_kept(tmp_path):
    async def run():
        services = TimedServices(halt=30)
        bench, run_id = await begin(services, tmp_path, batches=(1,))
        await services.halted.wait()
        cancelled = await bench.cancel(run_id)
        return services, cancelled, await bench.cancel(run_id), await bench.state()

    services, cancelled, again, state = asyncio.run(run())
    assert cancelled == again
    assert kept(tmp_path) == [cancelled]
    assert (cancelled["state"], len(cancelled["cells"])) == ("cancelled", 1)
    assert state["running"] is None
    assert all(answer.closed for answer in services.answers)
    assert services.engine_stats()["tiny"].running == 0


def test_a_run_can_be_cancelled_at_once(tmp_path):
    async def run():
        bench, run_id = await begin(TimedServices(), tmp_path)
        return await bench.cancel(run_id)

    assert asyncio.run(run())["state"] == "cancelled"


def test_a_size_that_can_t_be_is_said_and_the_others_go_on(tmp_path):
    class Choosy(TimedServices):
        async def submit(self, served, job):
            if len(job.prompt.text.split()) == 20:
                raise InvalidJobError("not such a prompt")
            return await super().submit(served, job)

    async def run():
        bench, run_id = await begin(Choosy(rows=1), tmp_path)
        await ended(bench)
        return await bench.run(run_id)

    whole = asyncio.run(run())
    assert whole["state"] == "done"
    errors = {(cell["length"], cell["batch"]): cell["error"] for cell in whole["cells"]}
    assert errors[20, 1] is None
    assert "max_concurrent_requests" in errors[20, 2]
    assert errors[40, 1] == errors[40, 2] == "not such a prompt"
    assert [cell["figures"] is None for cell in whole["cells"]] == [False, True, True, True]


@pytest.mark.parametrize(
    ("refusal", "reason"),
    [(ModelLoadError("tiny", "its weights are broken"), "its weights are broken"), (RuntimeError("a bug"), "did not foresee")],
)
def test_a_run_that_fails_says_why(tmp_path, refusal, reason):
    async def run():
        bench, run_id = await begin(TimedServices(refusal=refusal), tmp_path)
        await ended(bench)
        return await bench.run(run_id)

    whole = asyncio.run(run())
    assert whole["state"] == "failed"
    assert reason in whole["error"]
    assert kept(tmp_path) == [whole]


def test_requests_of_others_are_noted(tmp_path):
    async def run():
        bench, run_id = await begin(TimedServices(others=2), tmp_path)
        await ended(bench)
        return await bench.run(run_id)

    assert asyncio.run(run())["other_requests"] == 2


def test_a_run_is_forgotten(tmp_path):
    async def run():
        bench, run_id = await begin(TimedServices(), tmp_path, lengths=(20,), batches=(1,))
        await ended(bench)
        await bench.remove(run_id)
        for call in (bench.run, bench.cancel, bench.remove):
            with pytest.raises(UnknownRunError):
                await call(run_id)
        return await bench.state()

    assert asyncio.run(run()) == {"running": None, "runs": []}
    assert kept(tmp_path) == []


def test_a_disk_that_is_full_costs_the_file_only(tmp_path, caplog):
    (tmp_path / "benchmarks").write_text("in the way")

    async def run():
        bench, run_id = await begin(TimedServices(), tmp_path / "benchmarks", lengths=(20,), batches=(1,))
        await ended(bench)
        return await bench.run(run_id)

    assert asyncio.run(run())["state"] == "done"
    assert "can't be kept" in caplog.text


def test_only_so_many_are_remembered(tmp_path):
    async def run():
        services = TimedServices()
        bench = Bench(services, tmp_path, services.clock, most=2)
        for _ in range(3):
            await bench.begin(await services.find("tiny"), PLAN | {"lengths": (20,), "batches": (1,)})
            await ended(bench)
        return await bench.state()

    state = asyncio.run(run())
    assert len(state["runs"]) == 2
    assert len(kept(tmp_path)) == 2
