"""Settings outlive their process, their editors and each other's changes."""

import json
import logging
import os
import pickle
import tempfile
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.catalog.settings_store import SettingsStore
from actors.errors import InvalidSettingError, StaleRevisionError

GLOBAL, MODELS = "settings.json", "model_settings.json"


def read(base, name):
    return json.loads((base / name).read_text("utf-8"))


def write(base, name, content):
    (base / name).write_text(content if isinstance(content, str) else json.dumps(content))


@pytest.fixture
def store(tmp_path):
    return SettingsStore(tmp_path)


def test_a_store_that_nobody_has_changed_writes_nothing(tmp_path, store):
    assert (store.view(None).values, store.view("m").values, store.reread()) == ({}, {}, False)
    store.change("m", {"seed": None}, None)
    assert not list(tmp_path.glob("*.json"))


@pytest.mark.parametrize("in_memory", [False, True])
def test_changes_are_seen_at_once_and_null_resets(tmp_path, in_memory):
    store = SettingsStore(None if in_memory else tmp_path)
    view = store.change("org/m", {"temperature": 0.5, "stop": "\n", "is_pinned": True}, None)
    assert view == store.view("org/m")
    assert view.values == {"temperature": 0.5, "stop": ["\n"], "is_pinned": True}
    store.change("org/m", {"temperature": None, "is_pinned": False}, view.revision)
    assert store.model("org/m") == {"stop": ["\n"], "is_pinned": False}
    store.change(None, {"port": 9000}, None)
    assert store.global_values() == {"port": 9000}
    assert not store.reread()


def test_both_files_have_their_form_and_belong_to_their_owner(tmp_path, store):
    store.change(None, {"port": 9000, "temperature": 1}, None)
    store.change("m", {"model_alias": "é"}, None)
    assert read(tmp_path, GLOBAL) == {"version": 1, "port": 9000, "temperature": 1}
    assert read(tmp_path, MODELS) == {"version": 1, "models": {"m": {"model_alias": "é"}}}
    assert [oct((tmp_path / name).stat().st_mode & 0o777) for name in (GLOBAL, MODELS)] == ["0o600"] * 2
    store.change("m", {"model_alias": None}, None)
    assert read(tmp_path, MODELS) == {"version": 1, "models": {}}


def test_settings_and_their_revisions_outlive_the_store(tmp_path):
    base = tmp_path / "not" / "there yet"
    revisions = [SettingsStore(base).change(key, {"top_k": 5}, None).revision for key in (None, "m")]
    again = SettingsStore(base)
    assert [again.view(key).revision for key in (None, "m")] == revisions
    assert again.model("m") == {"top_k": 5}


def test_a_stale_revision_changes_nothing(tmp_path, store):
    old = store.view("m").revision
    new = store.change("m", {"seed": 1}, old).revision
    before = (tmp_path / MODELS).read_bytes()
    with pytest.raises(StaleRevisionError) as stale:
        store.change("m", {"seed": 2}, old)
    assert stale.value.present == new != old
    assert (store.model("m"), (tmp_path / MODELS).read_bytes()) == ({"seed": 1}, before)


def test_a_model_s_revision_doesn_t_depend_on_other_models_or_globals(store):
    revision = store.change("m", {"seed": 1}, None).revision
    store.change("n", {"seed": 1}, None)
    store.change(None, {"seed": 1}, None)
    assert store.view("m").revision == revision


def test_an_invalid_change_changes_nothing_of_what_came_with_it(tmp_path, store):
    store.change("m", {"seed": 1}, None)
    before = (tmp_path / MODELS).read_bytes()
    for wrong in ({"temperature": 9}, {"sed": 1}, {"port": 1}):
        with pytest.raises(InvalidSettingError):
            store.change("m", {"seed": 2, **wrong}, None)
    with pytest.raises(InvalidSettingError):
        store.change(None, {"trust_remote_code": True}, None)
    assert (store.model("m"), (tmp_path / MODELS).read_bytes()) == ({"seed": 1}, before)


def test_a_disk_that_fails_changes_nothing(tmp_path, store, monkeypatch):
    view = store.change("m", {"seed": 1}, None)

    def fail(*args):
        raise OSError("no more disk")

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", fail)
        with pytest.raises(OSError, match="no more disk"):
            store.change("m", {"seed": 2}, None)
    assert store.view("m") == view == SettingsStore(tmp_path).view("m")
    assert not store.reread()


def test_one_model_is_the_default(tmp_path, store):
    write(
        tmp_path, MODELS, {"models": {"a": {"is_default": True}, "b": {"is_default": True, "seed": 1}, "c": {"is_default": True}}}
    )
    store.change("c", {"is_default": True}, None)
    assert [store.model(key) for key in "abc"] == [{}, {"seed": 1}, {"is_default": True}]
    store.change("a", {"is_default": True, "top_k": 1}, None)
    assert read(tmp_path, MODELS)["models"] == {"b": {"seed": 1}, "a": {"is_default": True, "top_k": 1}}
    store.change("b", {"is_default": False}, None)
    assert store.model("a")["is_default"]


def test_an_edit_by_hand_is_picked_up(tmp_path, store):
    revision = store.change("m", {"seed": 1}, None).revision
    write(tmp_path, MODELS, {"version": 1, "models": {"m": {"seed": 2}}})
    assert store.reread()
    assert not store.reread()
    assert store.model("m") == {"seed": 2}
    with pytest.raises(StaleRevisionError):
        store.change("m", {"seed": 3}, revision)
    (tmp_path / MODELS).unlink()
    assert store.reread()
    assert store.model("m") == {}


def test_an_edit_to_what_python_holds_for_equal_is_one(tmp_path, store, caplog):
    write(tmp_path, MODELS, {"models": {"m": {"is_pinned": 1}}})
    assert store.reread()
    assert store.model("m") == {}
    write(tmp_path, MODELS, {"models": {"m": {"is_pinned": True}}})
    assert store.reread()
    assert store.model("m") == {"is_pinned": True}
    write(tmp_path, MODELS, {"models": {"m": {"is_pinned": 1}}})
    store.change("m", {"is_pinned": True}, None)
    assert read(tmp_path, MODELS)["models"]["m"]["is_pinned"] is True


@pytest.mark.parametrize("revision", ["stale", None])
def test_an_edit_that_a_change_comes_upon_is_still_news(tmp_path, store, revision):
    write(tmp_path, MODELS, {"models": {"other": {"seed": 1}}})
    try:
        store.change("m", {"seed": 2}, revision)
    except StaleRevisionError:
        assert store.model("m") == {}
    assert store.model("other") == {"seed": 1}
    assert store.reread()
    assert not store.reread()


def test_unknown_keys_are_kept_and_count_for_the_revision(tmp_path, store, caplog):
    write(tmp_path, GLOBAL, {"version": 7, "future": {"a": [1]}, "port": 1})
    write(tmp_path, MODELS, {"note": "mine", "version": 1, "models": {"m": {"colour": "red"}, "n": {"x": None}}})
    assert store.reread()
    assert (store.global_values(), store.model("m")) == ({"port": 1}, {})
    assert store.view("m").revision != store.view("unheard of").revision
    store.change(None, {"port": 2}, None)
    store.change("m", {"seed": 1}, None)
    store.change("m", {"seed": None}, None)
    assert read(tmp_path, GLOBAL) == {"version": 7, "future": {"a": [1]}, "port": 2}
    assert read(tmp_path, MODELS) == {"note": "mine", "version": 1, "models": {"m": {"colour": "red"}, "n": {"x": None}}}
    assert "model_settings.json, 'm': There is no setting 'colour'. It is ignored, and stays in the file." in caplog.messages


def test_an_invalid_value_is_warned_of_once_ignored_and_kept(tmp_path, store, caplog):
    write(tmp_path, MODELS, {"models": {"m": {"temperature": "hot", "seed": 1}, "n": ["what"], "o": {"seed": None}}})
    assert store.reread()
    assert [store.model(key) for key in "mno"] == [{"seed": 1}, {}, {}]
    assert [record.levelno >= logging.WARNING for record in caplog.records] == [True] * 2
    assert "'temperature' takes a number from 0 to 2, not 'hot'. It is ignored, and stays in the file." in caplog.messages[0]
    store.change("o", {"seed": 2}, None)
    assert len(caplog.records) == 2
    assert read(tmp_path, MODELS)["models"]["m"]["temperature"] == "hot"


@pytest.mark.parametrize("when", ["at the start", "while running", "with a change"])
@pytest.mark.parametrize(("name", "broken"), [(GLOBAL, "{"), (MODELS, '{"models": {"m": '), (MODELS, '{"models": 3}')])
def test_a_broken_file_is_kept_aside_loudly(tmp_path, store, caplog, name, broken, when):
    store.change("m", {"seed": 1}, None)
    store.change(None, {"seed": 1}, None)
    write(tmp_path, name, broken)
    if when == "at the start":
        store = SettingsStore(tmp_path)
    elif when == "while running":
        assert store.reread()
    else:
        store.change("n", {"seed": 3}, None)
    assert (store.global_values() == {}, store.model("m") == {}) == (name == GLOBAL, name == MODELS)
    (aside,) = tmp_path.glob("*.corrupt-*")
    assert aside.name.startswith(f"{name}.corrupt-")
    assert aside.read_text() == broken
    (record,) = caplog.records
    assert record.levelno >= logging.WARNING
    assert aside.name in record.message
    store.change("m", {"seed": 5}, None)
    assert SettingsStore(tmp_path).model("m") == {"seed": 5}


def test_a_file_that_is_just_being_written_is_waited_for(tmp_path, store, monkeypatch):
    write(tmp_path, MODELS, '{"models": {"m": {"se')
    monkeypatch.setattr("time.sleep", lambda seconds: write(tmp_path, MODELS, {"models": {"m": {"seed": 4}}}))
    assert store.reread()
    assert store.model("m") == {"seed": 4}
    assert not list(tmp_path.glob("*.corrupt-*"))


def test_a_file_that_can_t_be_read_leaves_what_was_read_before_and_is_told_once(tmp_path, store, caplog):
    store.change("m", {"seed": 1}, None)
    (tmp_path / MODELS).unlink()
    (tmp_path / MODELS).mkdir()
    assert not store.reread()
    assert not store.reread()
    assert store.model("m") == {"seed": 1}
    assert len(caplog.records) == 1
    with pytest.raises(OSError):
        store.change("m", {"seed": 2}, None)
    (tmp_path / MODELS).rmdir()
    write(tmp_path, MODELS, {"models": {"m": {"seed": 3}}})
    assert store.reread()
    assert store.model("m") == {"seed": 3}


def test_looking_again_costs_no_reading_when_nothing_changed(tmp_path, store, monkeypatch):
    store.change("m", {"seed": 1}, None)
    for name in (GLOBAL, MODELS):
        if (tmp_path / name).exists():
            os.utime(tmp_path / name, (1, 1))
    store.reread()
    monkeypatch.setattr(Path, "open", None)
    assert not store.reread()


def test_two_stores_on_one_folder_see_and_keep_each_other_s_changes(tmp_path, store):
    other = SettingsStore(tmp_path)
    store.change("m", {"seed": 1}, None)
    other.change("m", {"top_k": 2}, None)
    other.change("n", {"top_k": 3}, None)
    store.change("m", {"top_p": 0.5}, None)
    assert store.reread()
    assert other.reread()
    for each in (store, other, SettingsStore(tmp_path)):
        assert each.model("m") == {"seed": 1, "top_k": 2, "top_p": 0.5}
        assert each.model("n") == {"top_k": 3}


def test_stores_and_threads_at_the_same_time_lose_no_change(tmp_path):
    shared = SettingsStore(tmp_path)
    # A store of its own stands for another process: the lock is of the open file, not of the process.
    stores = {"a": shared, "b": shared, "c": SettingsStore(tmp_path), "d": SettingsStore(tmp_path)}
    threads = [threading.Thread(target=_change_often, args=each) for each in stores.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    shared.reread()
    assert {owner: shared.model(owner) for owner in stores} == {owner: {"seed": 20} for owner in stores}


def _change_often(owner, store):
    for _ in range(20):
        store.change(owner, {"seed": store.model(owner).get("seed", 0) + 1}, store.view(owner).revision)


def test_what_a_view_gives_away_is_nobody_s_settings(tmp_path):
    for store in (SettingsStore(tmp_path), SettingsStore(None)):
        given = {"enable": {"a": 1}}
        store.change("m", {"chat_template_kwargs": given}, None)
        given["enable"]["a"] = 2
        store.view("m").values["chat_template_kwargs"]["enable"]["a"] = 3
        store.model("m")["chat_template_kwargs"].clear()
        assert store.model("m") == {"chat_template_kwargs": {"enable": {"a": 1}}}
        assert pickle.loads(pickle.dumps(store.view("m"))) == store.view("m")


def test_overrides_win_over_the_file_and_stay_out_of_it(tmp_path):
    store = SettingsStore(tmp_path, {"port": 1, "host": None})
    store.change(None, {"port": 2, "host": "::1"}, None)
    assert store.global_values() == {"port": 1, "host": "::1"}
    assert store.view(None).values == {"port": 2, "host": "::1"} == SettingsStore(tmp_path).global_values()


def test_aliases_are_listed_by_model(store):
    store.change("m", {"model_alias": "small"}, None)
    store.change("n", {"seed": 1}, None)
    assert store.aliases() == {"m": "small"}


KEYS = st.sampled_from([None, "a", "b", "org/c"])
BOTH = st.fixed_dictionaries(
    {},
    optional={
        "temperature": st.none() | st.floats(0, 2),
        "seed": st.none() | st.integers(-(1 << 63), (1 << 64) - 1),
        "stop": st.none() | st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), max_size=3),
    },
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
UNKNOWN = st.dictionaries(st.sampled_from(["x_one", "x_two", "\ud800", "é"]), JSON, max_size=2)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("change"), KEYS, BOTH),
        st.tuples(st.just("default"), KEYS.filter(bool), st.booleans()),
        st.tuples(st.just("edit"), KEYS, UNKNOWN, st.sampled_from([0, 1, "hot", None])),
        st.tuples(st.just("reread")),
        st.tuples(st.just("restart")),
    ),
    max_size=12,
)


class Reference:
    """What the files should say, kept in the plainest way."""

    def __init__(self):
        self.sections = {None: {}}

    def change(self, key, changes):
        section = self.sections.setdefault(key, {})
        if changes.get("is_default"):
            for other in self.sections.values():
                if other.get("is_default") is True:
                    del other["is_default"]
        for name, value in changes.items():
            if value is None:
                section.pop(name, None)
            else:
                section[name] = value

    def valid(self, key):
        section = self.sections.get(key, {})
        known = {name: value for name, value in section.items() if not name.startswith(("x_", "\ud800", "é"))}
        return {name: value for name, value in known.items() if value is not None and value != "hot"}


@settings(max_examples=60, deadline=None)
@given(STEPS)
def test_any_sequence_of_changes_and_edits_keeps_files_and_store_the_same(steps):
    with tempfile.TemporaryDirectory() as folder:
        base, reference = Path(folder), Reference()
        store = SettingsStore(base)
        for kind, *details in steps:
            if kind == "change":
                key, changes = details
                store.reread()
                store.change(key, changes, store.view(key).revision)
                reference.change(key, changes)
            elif kind == "default":
                key, on = details
                store.change(key, {"is_default": on}, None)
                reference.change(key, {"is_default": on})
            elif kind == "edit":
                key, unknown, temperature = details
                _edit(base, key, {**unknown, "temperature": temperature})
                reference.sections.setdefault(key, {}).update(unknown, temperature=temperature)
            elif kind == "restart":
                store = SettingsStore(base)
            store.reread()
            fresh = SettingsStore(base)
            for key in (None, "a", "b", "org/c"):
                assert _same(_raw(base, key), reference.sections.get(key, {}))
                assert _same(store.view(key).values, reference.valid(key))
                assert store.view(key) == fresh.view(key)


def _edit(base, key, changes):
    name = GLOBAL if key is None else MODELS
    content = read(base, name) if (base / name).exists() else {}
    (content if key is None else content.setdefault("models", {}).setdefault(key, {})).update(changes)
    write(base, name, content)


def _raw(base, key):
    name = GLOBAL if key is None else MODELS
    content = read(base, name) if (base / name).exists() else {}
    return (
        {name: value for name, value in content.items() if name != "version"}
        if key is None
        else content.get("models", {}).get(key, {})
    )


def _same(one, other):
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
