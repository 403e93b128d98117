"""The tables of settings are whole and agree with what requests may say and what engines are built with."""

import pytest
from pydantic import ValidationError

from actors.contracts import EngineOptions
from actors.errors import InvalidSettingError
from actors.settings import GLOBAL_SETTINGS, MODEL_SETTINGS, SAMPLING, Form, check_changes
from omlx.api.openai import GenerationRequest

TABLES = (MODEL_SETTINGS, GLOBAL_SETTINGS)
EVERY = [*MODEL_SETTINGS.values(), *GLOBAL_SETTINGS.values()]


def edges(setting):
    """Values at its bounds and just beside them."""
    if setting.form is Form.TEXTS:
        return [[], ["a"], "a", [""], ["a"] * 16, ["a"] * 17]
    step = 1 if setting.form is Form.INTEGER else 0.001
    bounds = [bound for bound in (setting.least, setting.most, setting.above) if bound is not None]
    return [0, 1, *(bound + beside for bound in bounds for beside in (-step, 0, step))]


def takes(check, value):
    try:
        check(value)
    except (InvalidSettingError, ValidationError):
        return False
    return True


@pytest.mark.parametrize("setting", SAMPLING, ids=lambda setting: setting.name)
def test_a_sampling_setting_takes_what_a_request_may_say(setting):
    def ask(value):
        GenerationRequest.model_validate({"model": "m", setting.name: value})

    assert setting.name in GenerationRequest.model_fields
    told = {str(value): (takes(setting.check, value), takes(ask, value)) for value in edges(setting)}
    assert {value: one for value, (one, other) in told.items() if one != other} == {}
    assert {one for one, _ in told.values()} == {True, False}


@pytest.mark.parametrize("setting", EVERY, ids=lambda setting: setting.name)
def test_a_setting_has_a_sentence_of_help_and_takes_its_own_default(setting):
    assert setting.help[0].isupper() or setting.help.startswith("`")
    assert setting.help.endswith(".")
    assert ". " not in setting.help
    assert setting.check(setting.default) == setting.default


def test_every_number_has_bounds():
    numbers = [setting for setting in EVERY if setting.form in (Form.INTEGER, Form.NUMBER)]
    assert [each.name for each in numbers if each.most is None or (each.least is None) == (each.above is None)] == []


def test_global_defaults_are_the_engines():
    options = EngineOptions()
    for name in ("max_concurrent_requests", "max_queued_requests", "max_decode_stall_ms"):
        assert GLOBAL_SETTINGS[name].default == getattr(options, name)


def test_a_model_leaves_to_the_global_setting_what_both_have():
    both = MODEL_SETTINGS.keys() & GLOBAL_SETTINGS.keys()
    assert {"temperature", "ttl_seconds", "max_concurrent_requests", "kv_cache_max_bytes", "max_context_window"} < both
    assert {MODEL_SETTINGS[name].default for name in both} == {None}
    assert {MODEL_SETTINGS[name].takes == GLOBAL_SETTINGS[name].takes for name in both} == {True}


def test_code_of_models_is_never_trusted_for_all():
    assert MODEL_SETTINGS["trust_remote_code"].default is False
    assert [name for name in GLOBAL_SETTINGS if "trust" in name] == []


def test_changes_are_checked_and_kept_in_their_form():
    assert check_changes(MODEL_SETTINGS, {"stop": "\n", "seed": None, "top_p": 1}) == {"stop": ["\n"], "seed": None, "top_p": 1}


@pytest.mark.parametrize(
    ("table", "changes", "message"),
    [
        (MODEL_SETTINGS, {"temprature": 1}, "There is no setting 'temprature'. Did you mean 'temperature'?"),
        (MODEL_SETTINGS, {"xyzzy": 1}, "There is no setting 'xyzzy'."),
        (GLOBAL_SETTINGS, {"verssion": 1}, "There is no setting 'verssion'."),
        (MODEL_SETTINGS, {"temperature": 3}, "'temperature' takes a number from 0 to 2, not 3."),
        (MODEL_SETTINGS, {"port": 1}, "'port' is a setting of the whole server, not of a model."),
        (GLOBAL_SETTINGS, {"trust_remote_code": True}, "'trust_remote_code' is a setting of a model, not of the whole server."),
        (MODEL_SETTINGS, {"xyzzy": None}, "There is no setting 'xyzzy'."),
    ],
)
def test_a_wrong_change_is_refused_in_words(table, changes, message):
    with pytest.raises(InvalidSettingError) as refusal:
        check_changes(table, {"seed": 1, **changes})
    assert str(refusal.value) == message
    assert refusal.value.name == next(iter(changes))
