"""Engines come, go and come back, through failed loads, crashes, changes and want of memory."""

import asyncio

import pytest

from actors.contracts import EngineOptions, Route
from actors.errors import InsufficientMemoryError, ModelLoadError, ModelNotFoundError
from tests.fakes.engines import settle
from tests.fakes.lifecycle_world import GB, run, wanted


def soon(coroutine):
    """What a coroutine comes to, later."""
    return asyncio.create_task(coroutine)


# Loads


def test_ten_callers_cause_one_load():
    async def test(world):
        routes = await asyncio.gather(*(world.lifecycle.route("a") for _ in range(10)))
        assert len(set(routes)) == len(world.host.started) == 1
        assert world.lifecycle.routes() == {"a": (routes[0],)}

    run(test, wanted("a"))


def test_a_caller_that_leaves_doesnt_end_the_load_of_the_others():
    async def test(world):
        world.host.hold("a")
        first, second = soon(world.lifecycle.route("a")), soon(world.lifecycle.route("a"))
        await settle()
        first.cancel()
        world.host.release("a")
        assert (await second).engine_id == world.engine("a").spec.engine_id
        assert len(world.host.started) == 1

    run(test, wanted("a"))


def test_loads_run_beside_each_other_and_routing_to_what_is_loaded_waits_for_none():
    async def test(world):
        await world.route("a")
        for model_id in "bc":
            world.host.hold(model_id)
        others = [soon(world.lifecycle.route(model_id)) for model_id in "bc"]
        await settle()
        assert [engine.loading for model_id in "bc" for engine in world.host.alive(model_id)] == [True, True]
        await world.lifecycle.route("a")
        for model_id in "bc":
            world.host.release(model_id)
        await asyncio.gather(*others)

    run(test, *map(wanted, "abc"))


def test_routing_to_what_is_loaded_doesnt_wait_while_room_is_made():
    async def test(world):
        await world.route("a", "b")
        world.host.immortal.add(world.engine("a").spec.engine_id)
        loading = soon(world.lifecycle.route("c"))
        await settle()
        assert not loading.done()
        await world.lifecycle.route("b")
        world.host.finish_off(world.engine("a").spec.engine_id)
        await loading

    run(test, *map(wanted, "abc"), gb=2)


def test_a_hung_load_is_killed_and_said():
    async def test(world):
        world.host.hold("a")
        loading = soon(world.lifecycle.route("a"))
        await world.clock.advance(59)
        assert not loading.done()
        await world.clock.advance(1)
        with pytest.raises(ModelLoadError, match=r"not loaded within 60 s"):
            await loading
        assert world.host.alive() == []
        assert world.state("a") == "failed"
        assert world.lifecycle.memory().reserved == 0

    run(test, wanted("a"))


def test_a_failed_load_is_remembered_until_the_folder_or_settings_change_or_somebody_asks_by_hand():
    async def test(world):
        world.host.unloadable["a"] = "no such kind"
        for _ in range(2):
            with pytest.raises(ModelLoadError, match="no such kind"):
                await world.lifecycle.route("a")
        await world.tick(100)
        assert len(world.host.started) == 1
        (status,) = world.lifecycle.statuses()
        assert (status.state, status.reason) == ("failed", "no such kind")
        with pytest.raises(ModelLoadError):
            await world.lifecycle.load("a")
        for n, change in enumerate((wanted("a", revision="r2"), wanted("a", revision="r2", ttl_seconds=7)), 3):
            await world.want(change)
            with pytest.raises(ModelLoadError):
                await world.lifecycle.route("a")
            assert len(world.host.started) == n
        del world.host.unloadable["a"]
        await world.lifecycle.load("a")
        assert world.lifecycle.fleet("a").reason is None

    run(test, wanted("a"))


def test_a_process_that_cant_be_started_is_not_the_models_fault():
    async def test(world):
        world.host.refusals.append(OSError("no more processes"))
        with pytest.raises(ModelLoadError, match="no more processes"):
            await world.lifecycle.route("a")
        assert world.lifecycle.fleet("a").reason == "its process could not be started: no more processes"
        await world.lifecycle.route("a")
        assert world.up == ["a"]

    run(test, wanted("a"))


def test_a_pinned_model_whose_process_cant_be_started_is_tried_again_after_a_while():
    async def test(world):
        world.host.refusals += [OSError("no more processes")] * 2
        await world.want(wanted("a", is_pinned=True))
        await world.tick(3)
        assert len(world.host.started) == 1
        await world.tick(10)
        assert world.up == ["a"]

    run(test)


def test_an_unknown_model_is_not_found():
    async def test(world):
        for call in (world.lifecycle.route, world.lifecycle.load, world.lifecycle.unload):
            with pytest.raises(ModelNotFoundError) as caught:
                await call("x")
            assert caught.value.available == ("a",)

    run(test, wanted("a"))


# Memory


def test_the_least_recently_used_makes_room():
    async def test(world):
        await world.route("a", "b", "c", "a")
        await world.route("d")
        assert world.up == ["a", "c", "d"]
        assert len(world.host.alive()) == 3
        assert world.lifecycle.memory().reserved == 3 * GB

    run(test, *map(wanted, "abcd"), gb=3)


def test_engines_say_themselves_when_they_were_used_last():
    async def test(world):
        await world.route("a", "b")
        world.engine("a").work(1)
        world.engine("a").work(0)
        await world.route("c")
        assert world.up == ["a", "c"]

    run(test, *map(wanted, "abc"), gb=2)


def test_pinned_and_busy_ones_stay_and_the_error_says_what_could_be_unloaded():
    async def test(world):
        await world.want(wanted("pinned", is_pinned=True))
        await world.route("busy", "idle")
        world.engine("busy").work(1)
        with pytest.raises(InsufficientMemoryError) as caught:
            await world.lifecycle.route("large")
        error = caught.value
        assert (error.needed, error.free, error.unloadable) == (2 * GB, 0, ("busy", "pinned"))
        assert world.up == ["busy", "idle", "pinned"]  # sending "idle" away would not have been enough
        world.engine("busy").work(0)
        await world.clock.advance(2)
        await world.lifecycle.route("large")
        assert world.up == ["large", "pinned"]

    run(test, wanted("busy"), wanted("idle"), wanted("large", 2), gb=3)


def test_an_engine_that_gets_busy_at_the_last_moment_is_not_sent_away():
    async def test(world):
        await world.route("a", "b")
        a, ask = world.engine("a"), world.engine("a").usage

        async def usage():
            answer = await ask()
            a.work(1)
            return answer

        a.usage = usage
        await world.lifecycle.route("c")
        assert world.up == ["a", "c"]
        assert not a.retired

    run(test, *map(wanted, "abc"), gb=2)


def test_concurrent_loads_dont_take_the_same_room():
    async def test(world):
        for model_id in "abc":
            world.host.hold(model_id)
        loads = [soon(world.lifecycle.route(model_id)) for model_id in "abc"]
        await settle()
        assert len(world.host.alive()) == 2
        for model_id in "abc":
            world.host.release(model_id)
        results = await asyncio.gather(*loads, return_exceptions=True)
        assert sorted(type(result).__name__ for result in results) == ["InsufficientMemoryError", "Route", "Route"]

    run(test, *map(wanted, "abc"), gb=2)


def test_memory_is_not_given_again_before_the_process_that_had_it_has_ended():
    async def test(world):
        await world.route("a")
        engine = world.engine("a")
        world.host.immortal.add(engine.spec.engine_id)
        loading = soon(world.lifecycle.route("b"))
        await world.tick(5)
        assert world.host.alive("b") == []
        world.host.finish_off(engine.spec.engine_id)
        await loading

    run(test, *map(wanted, "ab"), gb=1)


def test_what_an_engine_takes_counts_where_it_is_more_than_was_expected():
    async def test(world):
        await world.route("a", "b")
        world.engine("a").memory = int(2.5 * GB)
        await world.lifecycle.measure()
        memory = world.lifecycle.memory()
        assert (memory.budget, memory.reserved, memory.used) == (4 * GB, int(3.5 * GB), int(2.5 * GB))
        await world.route("c")
        assert world.up == ["b", "c"]

    run(test, *map(wanted, "abc"), gb=4)


@pytest.mark.parametrize("cause", ["growth", "budget"])
def test_idle_engines_go_when_all_together_take_too_much(cause):
    async def test(world):
        await world.route("a", "b")
        if cause == "growth":
            world.engine("b").memory = int(1.5 * GB)
        else:
            await world.want(gb=1)
        await world.tick()
        assert world.up == ["b"]

    run(test, *map(wanted, "ab"), gb=2)


def test_an_engine_that_was_just_given_to_a_caller_is_not_sent_away_before_the_request_can_come():
    async def test(world):
        await world.lifecycle.route("a")
        loading = soon(world.lifecycle.route("b"))
        await settle()
        assert world.up == ["a"]
        world.engine("a").work(1)  # there it is
        await world.tick(2)
        with pytest.raises(InsufficientMemoryError):
            await loading
        world.engine("a").work(0)
        await world.clock.advance(2)
        await world.lifecycle.route("a")
        loading = soon(world.lifecycle.route("b"))
        await world.tick(2)  # and this one never comes
        await loading
        assert world.up == ["b"]

    run(test, *map(wanted, "ab"), gb=1)


def test_kv_gets_half_of_what_the_weights_leave_unless_a_setting_says_how_much():
    async def test(world):
        await world.lifecycle.route("a")
        spec = world.engine("a").spec
        assert spec.options.kv_cache_bytes == 100_000_000
        assert spec.memory_bytes == GB

    run(test, wanted("a"))


def test_in_a_cluster_a_model_has_to_fit_one_node():
    async def test(world):
        world.host.cluster = {"north": 3 * GB // 2, "south": GB // 2}
        await world.route("a")
        assert world.engine("a").spec.node == "north"
        with pytest.raises(InsufficientMemoryError, match=r"2\.00 GB for models"):
            await world.lifecycle.route("large")
        world.host.cluster = {"north": 3 * GB // 2, "south": 2 * GB}
        await world.route("large")
        assert world.up == ["a", "large"]
        assert world.engine("large").spec.node == "south"
        assert world.lifecycle.memory().budget == 7 * GB // 2

    run(test, wanted("a"), wanted("large", 2), gb=0)


def test_in_a_cluster_whoever_is_sent_away_stands_where_the_room_is_needed():
    async def test(world):
        world.host.cluster = {"north": GB, "south": 2 * GB}
        await world.route("large", "old")  # the larger node first
        await world.tick(1)
        assert {each.spec.node: each.spec.model.model_id for each in world.host.alive()} == {"south": "large", "north": "old"}
        world.engine("large").work(1)
        await world.tick(1)
        world.engine("large").work(0)
        await world.tick(2)
        await world.route("larger")  # the other one was used less lately, and stands on a node that is too small
        assert world.up == ["larger", "old"]

    run(test, wanted("large", 2), wanted("old"), wanted("larger", 2), gb=0)


def test_in_a_cluster_concurrent_loads_dont_take_the_same_room():
    async def test(world):
        world.host.cluster = {"north": GB, "south": GB}
        await asyncio.gather(*(world.lifecycle.route(model_id) for model_id in "ab"))
        assert sorted(engine.spec.node for engine in world.host.alive()) == ["north", "south"]

    run(test, *map(wanted, "ab"), gb=0)


def test_what_stood_on_a_lost_node_comes_back_on_another():
    async def test(world):
        world.host.cluster = {"north": 2 * GB, "south": 3 * GB // 2}
        await world.route("a", "b")
        assert [world.engine(model_id).spec.node for model_id in "ab"] == ["north", "south"]
        world.host.cluster = {"south": 3 * GB}
        world.engine("a").crash()
        await world.tick(1)
        assert world.up == ["a", "b"]
        assert world.engine("a").spec.node == "south"
        assert len(world.host.started) == 3

    run(test, *map(wanted, "ab"), gb=0)


def test_a_load_that_goes_down_with_its_node_is_no_fault_of_the_model():
    async def test(world):
        world.host.cluster = {"north": GB}
        world.host.hold("a")
        loading = soon(world.lifecycle.route("a"))
        for node in ("south", "east", "west"):
            await world.clock.advance(5)
            lost = world.engine("a")
            world.host.cluster = {node: GB}
            lost.crash()
            await settle()
        await world.clock.advance(5)
        world.host.release("a")
        await settle()
        assert (await loading).engine_id == world.engine("a").spec.engine_id
        assert world.engine("a").spec.node == "west"

    run(test, wanted("a"), gb=0)


def test_an_adopted_engine_stands_where_it_was_placed():
    async def test(world):
        world.host.cluster = {"north": GB, "south": GB}
        await world.route("a")
        await world.rebirth()
        await world.route("b")
        assert sorted(engine.spec.node for engine in world.host.alive()) == ["north", "south"]
        assert world.up == ["a", "b"]

    run(test, *map(wanted, "ab"), gb=0)


def test_an_engine_that_an_earlier_catalog_told_to_take_no_more_is_replaced():
    async def test(world):
        await world.route("a")
        retired = world.engine("a")
        retired.work(1)
        await retired.retire()
        await world.rebirth()
        await world.tick(1)
        assert world.up == []
        retired.work(0)
        await settle()
        assert retired.dead.is_set()
        await world.route("a")
        assert world.engine("a") is not retired

    run(test, wanted("a"))


# Pins, idle time, by hand


def test_a_pinned_model_is_loaded_at_start_and_when_it_is_pinned():
    async def test(world):
        assert world.up == ["a"]
        await world.want(wanted("b", is_pinned=True))
        assert world.up == ["a", "b"]

    run(test, wanted("a", is_pinned=True), wanted("b"), wanted("c"))


def test_a_pinned_model_makes_room_for_itself_and_comes_when_there_is_some():
    async def test(world):
        await world.route("a", "b")
        world.engine("b").work(1)
        await world.want(wanted("c", 2, is_pinned=True))
        await world.tick(20)
        assert world.up == ["a", "b"]
        assert "needs 2.00 GB" in world.lifecycle.fleet("c").reason
        tables = world.tables
        await world.tick(20)
        assert world.tables == tables
        world.engine("b").work(0)
        await world.tick(10)
        assert world.up == ["c"]
        assert world.lifecycle.fleet("c").reason is None

    run(test, wanted("a"), wanted("b"), gb=2)


def test_a_model_is_unloaded_when_nobody_asks_for_it_in_its_time():
    async def test(world):
        await world.route("a", "b", "pinned")
        world.engine("a").work(1)
        await world.tick(60)
        assert world.up == ["a", "b", "pinned"]
        world.engine("a").work(0)
        await world.tick(28)
        assert world.up == ["a", "b", "pinned"]
        assert world.lifecycle.fleet("a").idle_seconds() == 28
        await world.tick(2)
        assert world.up == ["b", "pinned"]
        assert world.host.alive("a") == []

    run(test, wanted("a", ttl_seconds=30), wanted("b"), wanted("pinned", is_pinned=True, ttl_seconds=5))


def test_all_replicas_are_unloaded_together():
    async def test(world):
        await world.route("a")
        await world.tick()
        assert len(world.host.alive("a")) == 2
        world.host.alive("a")[0].work(1)
        await world.tick(20)
        assert len(world.host.alive("a")) == 2
        world.host.alive("a")[0].work(0)
        await world.tick(20)
        assert world.host.alive("a") == []
        assert len(world.host.started) == 2

    run(test, wanted("a", replicas=2, ttl_seconds=10))


def test_unloading_waits_for_requests_or_cancels_them():
    async def test(world):
        await world.route("a")
        engine = world.engine("a")
        engine.work(1)
        unloading = soon(world.lifecycle.unload("a"))
        await settle()
        assert (world.up, world.state("a"), engine.retired, unloading.done()) == ([], "draining", True, False)
        engine.work(0)
        await unloading
        assert world.state("a") == "unloaded"
        await world.route("a")
        world.engine("a").work(1)
        await world.lifecycle.unload("a", cancel=True)
        assert world.host.alive() == []

    run(test, wanted("a"))


def test_an_unload_that_waits_can_still_be_cancelled():
    async def test(world):
        await world.route("a")
        world.engine("a").work(1)
        waiting = soon(world.lifecycle.unload("a"))
        await settle()
        await world.lifecycle.unload("a", cancel=True)
        await waiting

    run(test, wanted("a"))


def test_unloading_calls_a_load_off_and_says_so():
    async def test(world):
        world.host.hold("a")
        loading = soon(world.lifecycle.route("a"))
        await settle()
        await world.lifecycle.unload("a")
        with pytest.raises(ModelLoadError, match="unloaded meanwhile"):
            await loading
        assert world.host.alive() == []
        world.host.release("a")
        await world.lifecycle.route("a")  # nothing is held against it

    run(test, wanted("a"))


def test_a_pinned_model_that_was_unloaded_by_hand_stays_so_until_it_is_asked_for():
    async def test(world):
        await world.lifecycle.unload("a")
        await world.tick(20)
        await world.want(wanted("a", is_pinned=True, ttl_seconds=5))
        assert world.up == []
        await world.route("a")
        world.engine("a").crash()
        await settle()
        assert world.up == ["a"]  # it is looked after again

    run(test, wanted("a", is_pinned=True))


# Crashes


def test_crashes_are_answered_later_and_later_and_the_fifth_ends_it():
    async def test(world):
        await world.route("a")
        for restarts, delay in enumerate((0, 1, 2, 4), 1):
            world.engine("a").crash()
            await settle()
            if delay:
                assert (world.state("a"), world.host.alive("a")) == ("waiting", [])
                await world.clock.advance(delay - 0.1)
                assert world.host.alive("a") == []
                await world.clock.advance(0.1)
            assert world.state("a") == "ready"
            (status,) = world.lifecycle.statuses()
            assert (status.restarts, status.reason) == (restarts, "its process ended")
        world.engine("a").crash()
        await world.tick(30)
        (status,) = world.lifecycle.statuses()
        assert status.state == "failed"
        assert "5 times within ten minutes" in status.reason
        with pytest.raises(ModelLoadError, match="5 times"):
            await world.lifecycle.route("a")
        await world.lifecycle.load("a")
        world.engine("a").crash()
        await settle()
        assert world.up == ["a"]  # counted anew

    run(test, wanted("a"))


def test_a_request_waits_for_the_restart_and_a_load_by_hand_doesnt():
    async def test(world):
        await world.route("a")
        for _ in range(2):
            world.engine("a").crash()
            await settle()
        waiting = soon(world.lifecycle.route("a"))
        await world.clock.advance(0.5)
        assert not waiting.done()
        await world.lifecycle.load("a")
        assert (await waiting).engine_id == world.engine("a").spec.engine_id

    run(test, wanted("a"))


def test_a_process_that_ends_while_loading_is_started_again_once():
    async def test(world):
        world.host.hold("a")
        loading = soon(world.lifecycle.route("a"))
        for _ in range(2):
            await settle()
            assert not loading.done()
            world.engine("a").crash()
        with pytest.raises(ModelLoadError, match="while loading, twice"):
            await loading
        assert world.host.alive("a") == []

    run(test, wanted("a"))


def test_an_engine_that_a_caller_found_dead_is_not_given_again():
    async def test(world):
        first = await world.lifecycle.route("a")
        world.host.hold("a")
        engine = world.engine("a")
        engine.work(1)  # it is alive after all, and somebody else's request is on it
        routes = [soon(world.lifecycle.route("a", gone=first.engine_id)) for _ in range(3)]
        await settle()
        assert not engine.dead.is_set()
        world.host.release("a")
        second = {await route for route in routes}
        assert len(second) == 1
        assert first not in second
        assert await world.lifecycle.route("a", gone=first.engine_id) in second
        engine.work(0)
        await settle()
        assert engine.dead.is_set()
        assert world.lifecycle.fleet("a").restarts == 0

    run(test, wanted("a"))


def test_an_engine_that_hangs_and_was_found_dead_is_killed_and_counts_as_crashed():
    async def test(world):
        first = await world.lifecycle.route("a")
        world.engine("a").hung = True
        routed = soon(world.lifecycle.route("a", gone=first.engine_id))
        await world.clock.advance(10)
        assert await routed != first
        assert world.lifecycle.fleet("a").restarts == 1

    run(test, wanted("a"))


def test_crashes_that_callers_notice_first_are_counted_too():
    async def test(world):
        route = await world.lifecycle.route("a")
        for _ in range(4):
            world.engine("a").crash()
            routed = soon(world.lifecycle.route("a", gone=route.engine_id))
            await world.clock.advance(5)
            route = await routed
        world.engine("a").crash()
        with pytest.raises(ModelLoadError, match="5 times"):
            await world.lifecycle.route("a", gone=route.engine_id)

    run(test, wanted("a"))


def test_a_hung_engine_keeps_nobody_from_loading():
    async def test(world):
        await world.route("a")
        world.engine("a").hung = True
        loading = soon(world.lifecycle.route("b"))
        await world.clock.advance(10)
        await loading

    run(test, *map(wanted, "ab"), gb=2)


# Replicas


def test_replicas_follow_the_setting():
    async def test(world):
        assert len({(await world.lifecycle.route("a")).engine_id for _ in range(3)}) == 1
        await world.want(wanted("a", replicas=3))
        assert len(world.lifecycle.routes()["a"]) == 3
        given = set()
        for _ in range(3):
            await world.clock.advance(0.1)
            given.add(await world.lifecycle.route("a"))
        assert len(given) == 3
        busy = world.host.alive("a")[0]
        busy.work(1)
        await world.tick(2)
        await world.want(wanted("a", replicas=1))
        assert [route.engine_id for route in world.lifecycle.routes()["a"]] == [busy.spec.engine_id]
        assert world.host.alive("a") == [busy]

    run(test, wanted("a"))


def test_replicas_send_nobody_away_and_the_model_is_served_by_those_that_fit():
    async def test(world):
        await world.route("b", "a")
        await world.tick(5)
        assert world.up == ["a", "b"]
        assert len(world.lifecycle.routes()["a"]) == 2
        tables = world.tables
        await world.tick(5)
        assert world.tables == tables
        await world.lifecycle.unload("b")
        await world.tick(6)
        assert len(world.lifecycle.routes()["a"]) == 3

    run(test, wanted("a", replicas=3), wanted("b"), gb=3)


def test_a_replica_that_crashes_is_replaced_while_the_other_serves():
    async def test(world):
        await world.route("a")
        await world.tick()
        for _ in range(2):
            world.host.alive("a")[0].crash()
            await settle()
            assert len(world.lifecycle.routes()["a"]) >= 1
        await world.clock.advance(1)
        assert len(world.lifecycle.routes()["a"]) == 2

    run(test, wanted("a", replicas=2))


# Changes


def test_options_of_running_engines_are_changed_in_place():
    async def test(world):
        await world.route("a")
        for requests in (2, 3):
            await world.want(wanted("a", options=EngineOptions(max_concurrent_requests=requests, max_queued_requests=5)))
        options = world.engine("a").options
        assert (options.max_concurrent_requests, options.max_queued_requests) == (3, 5)
        assert len(world.host.started) == 1

    run(test, wanted("a"))


def test_how_long_an_engine_has_been_ready_outlives_the_catalog():
    async def test(world):
        world.host.hold("a")
        loading = soon(world.lifecycle.route("a"))
        await world.tick(3)
        assert [status.ready_seconds for status in world.lifecycle.statuses()] == [None]
        world.host.release("a")
        await loading
        await world.tick(5)
        await world.rebirth()
        await world.tick(1)
        assert [status.ready_seconds for status in world.lifecycle.statuses()] == [6]

    run(test, wanted("a"))


def test_options_that_change_during_a_load_hold_after_it():
    async def test(world):
        world.host.hold("a")
        loading = soon(world.lifecycle.route("a"))
        await settle()
        await world.want(wanted("a", options=EngineOptions(max_concurrent_requests=2)))
        world.host.release("a")
        await loading
        await settle()
        assert world.engine("a").options.max_concurrent_requests == 2

    run(test, wanted("a"))


CHANGES = [
    wanted("a", revision="r2"),
    wanted("a", options=EngineOptions(trust_remote_code=True)),
    wanted("a", options=EngineOptions(max_decode_stall_ms=50)),
]


@pytest.mark.parametrize("change", CHANGES)
def test_what_takes_a_reload_lets_the_old_engine_finish_and_starts_a_new_one_when_asked(change):
    async def test(world):
        await world.route("a")
        old = world.engine("a")
        old.work(1)
        await world.want(change)
        assert (world.up, old.retired, old.dead.is_set()) == ([], True, False)
        await world.lifecycle.route("a")
        assert world.up == ["a"]
        assert world.host.started[-1].model.revision == change.model.revision
        old.work(0)
        await settle()
        assert old.dead.is_set()
        assert len(world.host.alive("a")) == 1

    run(test, wanted("a"))


def test_a_pinned_model_is_reloaded_unasked():
    async def test(world):
        await world.want(wanted("a", revision="r2", is_pinned=True))
        assert world.engine("a").spec.model.revision == "r2"

    run(test, wanted("a", is_pinned=True))


def test_a_new_engine_that_doesnt_fit_beside_the_old_one_waits_for_it():
    async def test(world):
        await world.route("a")
        old = world.engine("a")
        old.work(1)
        await world.want(wanted("a", 2, revision="r2"))
        loading = soon(world.lifecycle.route("a"))
        await world.tick(10)
        assert not loading.done()
        await world.route("b")  # what does fit is not kept waiting
        old.work(0)
        await loading
        assert world.engine("a").spec.model.revision == "r2"

    run(test, wanted("a", 2), wanted("b"), gb=3)


def test_a_change_during_a_load_starts_over_and_the_callers_get_the_new_engine():
    async def test(world):
        world.host.hold("a")
        loading = soon(world.lifecycle.route("a"))
        await settle()
        await world.want(wanted("a", revision="r2"))
        world.host.release("a")
        await loading
        assert world.engine("a").spec.model.revision == "r2"

    run(test, wanted("a"))


def test_a_model_that_is_gone_is_drained_and_not_found():
    async def test(world):
        await world.route("a", "b")
        world.engine("a").work(1)
        world.host.hold("c")
        loading = soon(world.lifecycle.route("c"))
        await settle()
        await world.want(gone=("a", "c"))
        assert world.up == ["b"]
        for work in (loading, world.lifecycle.route("a")):
            with pytest.raises(ModelNotFoundError):
                await work
        world.engine("a").work(0)
        await settle()
        assert [engine.spec.model.model_id for engine in world.host.alive()] == ["b"]
        assert {status.model_id for status in world.lifecycle.statuses()} == {"b"}

    run(test, *map(wanted, "abc"))


# Adoption


def test_a_new_lifecycle_adopts_the_engines_that_run():
    async def test(world):
        await world.want(wanted("pinned", is_pinned=True))
        route = await world.lifecycle.route("a")
        world.host.hold("b")
        left = soon(world.lifecycle.route("b"))
        await settle()
        left.cancel()
        await world.rebirth()
        later = world.lifecycle
        assert later.memory().reserved == 3 * GB
        assert await later.route("a") == route
        world.host.release("b")
        assert await later.route("b") == Route("b", world.engine("b").spec.engine_id)
        await later.tick()
        assert len(world.host.started) == 3

    run(test, *map(wanted, "ab"))


def test_adoption_keeps_to_what_is_wanted_now():
    async def test(world):
        await world.route("a", "b", "c")
        await world.tick()
        assert len(world.host.alive("a")) == 2
        busy = world.engine("c")
        busy.work(1)
        world.models = {"a": wanted("a"), "c": wanted("c", revision="r2")}
        await world.rebirth()
        assert len(world.host.alive("a")) == 1
        assert world.host.alive("b") == []
        assert world.up == ["a"]
        assert not busy.dead.is_set()  # it finishes its requests
        busy.work(0)
        await settle()
        assert world.host.alive("c") == []

    run(test, wanted("a", replicas=2), *map(wanted, "bc"))


def test_stopping_ends_every_engine():
    async def test(world):
        await world.route("a")
        world.host.hold("b")
        loading = soon(world.lifecycle.route("b"))
        await settle()
        await world.lifecycle.stop()
        assert world.host.alive() == []
        loading.cancel()

    run(test, *map(wanted, "ab"))


# What is told of engines


def told(world):
    return [(event.model_id, event.kind, event.result) for event in world.events]


def test_a_load_is_told_with_its_time_and_a_crash_with_the_restart():
    async def test(world):
        world.host.hold("a")
        loading = soon(world.lifecycle.route("a"))
        await world.clock.advance(3)
        world.host.release("a")
        await loading
        assert [event.seconds for event in world.events] == [3.0]
        world.engine("a").crash()
        await settle()
        assert told(world) == [("a", "load", "success"), ("a", "restart", ""), ("a", "load", "success")]

    run(test, wanted("a"))


def test_an_adopted_engine_is_no_load():
    async def test(world):
        await world.route("a")
        world.events.clear()
        await world.rebirth()
        assert world.up == ["a"]
        assert told(world) == []

    run(test, wanted("a"))


def test_loads_that_fail_are_told_apart():
    async def test(world):
        world.host.unloadable["a"] = "broken"
        with pytest.raises(ModelLoadError):
            await world.lifecycle.route("a")
        world.host.refusals.append(OSError("no more processes"))
        with pytest.raises(ModelLoadError):
            await world.lifecycle.route("b")
        with pytest.raises(InsufficientMemoryError):
            await world.lifecycle.route("large")
        world.host.hold("c")
        loading = soon(world.lifecycle.route("c"))
        for _ in range(2):
            await world.clock.advance(3)
            world.engine("c").crash()
        with pytest.raises(ModelLoadError):
            await loading
        assert told(world) == [
            ("a", "load", "failed"),
            ("b", "load", "not_started"),
            ("large", "load", "no_memory"),
            ("c", "load", "crashed"),
            ("c", "restart", ""),
            ("c", "load", "crashed"),
        ]

    run(test, *map(wanted, "abc"), wanted("large", 20))


def test_who_makes_room_and_who_was_idle_is_told():
    async def test(world):
        await world.route("a", "b", "c")
        await world.want(wanted("b", ttl_seconds=2))
        await world.tick(4)
        assert world.up == ["c"]
        await world.lifecycle.unload("c")  # which somebody asked for
        evictions = [each for each in told(world) if each[1] == "eviction"]
        assert evictions == [("a", "eviction", "memory"), ("b", "eviction", "idle")]

    run(test, *map(wanted, "abc"), gb=2)
