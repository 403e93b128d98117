"""Defaults come from the first source that has them, and names are unique whatever the files say."""

import json
import pickle
from dataclasses import asdict
from pathlib import Path

import pytest

from actors.catalog.serving import check_alias, engine_options, serve_all, served
from actors.catalog.settings_store import SettingsStore
from actors.contracts import EngineOptions
from actors.control import ImageRules
from actors.errors import InvalidSettingError
from actors.models import Inventory, ModelInfo, ModelType
from actors.settings import GLOBAL_SETTINGS, SAMPLING


def model(model_id="m", **facts):
    return ModelInfo(model_id, Path("/models") / model_id, **facts)


def inventory(*ids):
    return Inventory({model_id: model(model_id) for model_id in ids})


def test_a_sampling_default_is_the_first_that_is_set():
    names = ("temperature", "top_p", "top_k", "min_p")
    generation = dict(zip(names, (0.1, 0.1, 1, 0.1), strict=True))
    everything = dict(zip(names[:3], (0.2, 0.2, 2), strict=True))
    own = dict(zip(names[:2], (0.3, 0.3), strict=True))
    one = served(model(generation=generation), own, everything)
    assert one.defaults == {"temperature": 0.3, "top_p": 0.3, "top_k": 2, "min_p": 0.1}


def test_a_zero_is_a_value_and_other_settings_are_no_sampling_defaults():
    one = served(model(generation={"temperature": 1}), {"temperature": 0, "is_pinned": True}, {"port": 1, "top_k": 0})
    assert one.defaults == {"temperature": 0, "top_k": 0}


def test_what_no_setting_could_be_is_not_taken_from_the_model_s_own_file():
    generation = {"temperature": 9, "top_p": 0, "top_k": 5.0, "min_p": None, "max_length": 3, "seed": 1}
    assert served(model(generation=generation), {}, {}).defaults == {"seed": 1}


def test_nothing_set_is_nothing_said():
    one = served(model(), {}, {})
    assert (one.name, dict(one.defaults), one.forced, one.context_window, one.chat_template) == ("m", {}, frozenset(), None, None)
    assert (dict(one.chat_template_kwargs), one.is_default, one.is_hidden, one.model) == ({}, False, False, model())


def test_only_a_model_s_own_sampling_is_forced():
    everything = {"top_p": 0.5, "force_sampling": True}
    own = {"temperature": 0.5, "seed": 0, "replicas": 2}
    assert served(model(), own, everything).forced == frozenset()
    assert served(model(generation={"top_k": 1}), {**own, "force_sampling": True}, everything).forced == {"temperature", "seed"}


def test_a_model_s_settings_say_how_it_is_served():
    own = {
        "model_alias": "small",
        "model_type_override": "vlm",
        "max_context_window": 100,
        "chat_template": "{{ x }}",
        "chat_template_kwargs": {"x": 1},
        "is_default": True,
        "is_hidden": True,
    }
    one = served(model(size_bytes=5), own, {"max_context_window": 200})
    assert one.model == model(size_bytes=5, type=ModelType.VLM)
    assert one.model.type is ModelType.VLM
    assert (one.model_id, one.name, one.context_window, one.chat_template) == ("m", "small", 100, "{{ x }}")
    assert (one.chat_template_kwargs, one.is_default, one.is_hidden) == ({"x": 1}, True, True)
    assert served(model(), {}, {"max_context_window": 200}).context_window == 200
    assert pickle.loads(pickle.dumps(one)) == one


def test_the_rules_for_pictures_are_everybodys():
    assert served(model(), {}, {}).image_rules == ImageRules()
    asked = {"allow_image_urls": True, "max_images_per_request": 0, "max_image_bytes": 5, "max_image_pixels": 6}
    assert served(model(), {}, asked).image_rules == ImageRules(True, 0, 5, 6)
    assert asdict(ImageRules()) == {name: GLOBAL_SETTINGS[name].default for name in asked}


def test_every_sampling_setting_becomes_a_default():
    values = {each.name: ["a"] if each.name == "stop" else 1 for each in SAMPLING}
    for own, everything, generation in ((values, {}, {}), ({}, values, {}), ({}, {}, values)):
        assert served(model(generation=generation), own, everything).defaults == values


def test_engine_options_are_the_model_s_then_the_global_ones_then_the_engine_s_own():
    assert engine_options({}, {}, 1000) == EngineOptions()
    everything = {"max_concurrent_requests": 2, "max_queued_requests": 3, "max_decode_stall_ms": 4, "port": 1}
    assert engine_options({}, everything, 1000) == EngineOptions(2, 3, 4)
    assert engine_options({"max_concurrent_requests": 9, "seed": 1}, everything, 1000) == EngineOptions(9, 3, 4)


@pytest.mark.parametrize(
    ("own", "everything", "expected"),
    [(None, None, None), (5, None, 5), (None, "1KiB", 1024), ("50%", "1KiB", 500)],
)
def test_the_kv_cache_s_memory_comes_to_bytes(own, everything, expected):
    own, everything = ({"kv_cache_max_bytes": value} if value else {} for value in (own, everything))
    assert engine_options(own, everything, 1000).kv_cache_bytes == expected


def test_only_a_model_s_own_setting_trusts_its_code():
    assert not engine_options({}, {"trust_remote_code": True}, 1000).trust_remote_code
    assert engine_options({"trust_remote_code": True}, {}, 1000).trust_remote_code


def test_every_model_is_served_by_its_settings_in_the_order_of_ids(tmp_path):
    store = SettingsStore(tmp_path, {"top_k": 7})
    store.change("b", {"model_alias": "bee", "is_default": True}, None)
    store.change(None, {"temperature": 0.5, "top_k": 3}, None)
    store.change("gone", {"model_alias": "a"}, None)
    found = serve_all(inventory("c", "a", "b"), store)
    assert [(key, one.model_id, one.name, one.is_default) for key, one in found.items()] == [
        ("a", "a", "a", False), ("b", "b", "bee", True), ("c", "c", "c", False),
    ]  # fmt: skip
    assert found["c"].defaults == {"temperature": 0.5, "top_k": 7}


def edited(tmp_path, **sections):
    (tmp_path / "model_settings.json").write_text(json.dumps({"models": sections}))
    return SettingsStore(tmp_path)


def test_of_two_equal_aliases_the_first_model_keeps_it_and_is_warned_of_once(tmp_path, caplog):
    store = edited(tmp_path, z1={"model_alias": "zed"}, z0={"model_alias": "zed"}, z2={"model_alias": "zed"})
    for _ in range(2):
        found = serve_all(inventory("z2", "z1", "z0"), store)
    assert {key: one.name for key, one in found.items()} == {"z0": "zed", "z1": "z1", "z2": "z2"}
    assert caplog.messages == [f"The alias 'zed' of '{key}' is not used: the model 'z0' has it already." for key in ("z1", "z2")]


def test_an_id_wins_over_an_alias(tmp_path, caplog):
    store = edited(tmp_path, y1={"model_alias": "y2"}, y2={"model_alias": "y2"}, y3={"model_alias": "y1"})
    found = serve_all(inventory("y1", "y2", "y3"), store)
    assert {key: one.name for key, one in found.items()} == {"y1": "y1", "y2": "y2", "y3": "y3"}
    assert "The alias 'y2' of 'y1' is not used: the model 'y2' is called that." in caplog.messages
    assert len(caplog.messages) == 2


def test_of_two_default_models_the_first_is(tmp_path, caplog):
    store = edited(tmp_path, x1={"is_default": True, "model_alias": "ex"}, x2={"is_default": True}, x0={"is_default": True})
    found = serve_all(inventory("x1", "x2"), store)
    assert {key: one.is_default for key, one in found.items()} == {"x1": True, "x2": False}
    assert caplog.messages == ["'x2' is not the default model: 'x1' is."]


def test_an_alias_that_is_free_may_be_taken():
    aliases = {"a": "x", "gone": "y", "b": "z"}
    for alias in ("new", "y", "b", "z"):
        check_alias(alias, "b", {"a", "b"}, aliases)


@pytest.mark.parametrize(("alias", "reason"), [("a", "the model 'a' is called that."), ("x", "the model 'a' has it already.")])
def test_an_alias_of_another_model_is_refused_naming_it(alias, reason):
    with pytest.raises(InvalidSettingError) as refusal:
        check_alias(alias, "b", {"a": 1, "b": 1}, {"a": "x"})
    assert str(refusal.value) == f"The alias '{alias}' can't be used: {reason}"
    assert refusal.value.name == "model_alias"
