"""A model comes whole from each kind of place over HTTP, whatever the place answers on the way."""

import huggingface_hub
import pytest

from omlx.downloads.errors import AccessError, DownloadError, EndpointError, OfflineError, UnknownModelError, UnknownRevisionError
from tests.fakes.downloads import NAME, REPO, WANTED, WEIGHTS, Watcher, download, model_files, refusal, shown
from tests.fakes.file_server import GOOD, PLAIN, Cut, Page, Part, Refuse, Stall, Whole, Wrong, Zipped


def test_a_model_comes_whole_and_with_nothing_that_mlx_does_not_read(place, tmp_path):
    files = model_files()
    commit = place.add(REPO, files)
    watcher = Watcher()
    folder = download(place, tmp_path / "models", watcher).run()
    assert folder == tmp_path / "models" / NAME
    assert sorted(each.name for each in folder.iterdir() if not each.name.startswith(".")) == WANTED
    assert {name: (folder / name).read_bytes() for name in WANTED} == {name: files[name] for name in WANTED}
    assert [each.name for each in folder.parent.iterdir()] == [NAME]
    assert commit in (folder / ".omlx-origin.json").read_text()
    last = watcher.seen[-1]
    assert (
        (last.done, last.files_done) == (last.total, last.files_total) == (sum(len(files[name]) for name in WANTED), len(WANTED))
    )


@pytest.mark.parametrize("asked", ["v1", "commit"])
def test_another_revision(place, tmp_path, asked):
    old = place.add(REPO, model_files(seed=1), revision="v1")
    place.add(REPO, model_files(seed=2))
    folder = download(place, tmp_path, revision=old if asked == "commit" else "v1").run()
    assert (folder / WEIGHTS).read_bytes() == model_files(seed=1)[WEIGHTS]


def test_a_revision_that_is_not_there_is_named(place, tmp_path):
    place.add(REPO, model_files())
    assert refusal(UnknownRevisionError, place, tmp_path, revision="v9") == f"{REPO} has no revision 'v9'."


@pytest.mark.parametrize("token", [None, PLAIN])
def test_a_name_that_does_not_exist(place, tmp_path, token):
    said = refusal(UnknownModelError, place, tmp_path, repo="org/nothing", token=token)
    assert said.startswith(f"There is no model org/nothing on {place.url}, or ")
    assert shown(tmp_path) == []


@pytest.mark.parametrize("name", ["a/b/c", "org/../x", "models--x", "-x", "org/a b"])
def test_a_name_that_can_not_be_one_is_told_without_a_request(place, tmp_path, name):
    assert "organization/model" in refusal(UnknownModelError, place, tmp_path, repo=name)
    assert place.requests == []


def test_a_token_that_is_refused_is_the_reason_and_is_not_shown(place, tmp_path):
    place.add(REPO, model_files())
    said = refusal(AccessError, place, tmp_path, token="hf_expired")
    assert said.startswith(f"{place.url} refused the token.")
    assert "hf_expired" not in said


@pytest.mark.parametrize("everything", ["page", "missing", Refuse(200, {"content-type": "application/json"})])
def test_what_is_no_hub_is_named(place, tmp_path, everything):
    place.everything = everything
    said = refusal(EndpointError, place, tmp_path)
    assert said.startswith(place.url)
    assert f"as {place.title} does" in said
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", [WEIGHTS, "config.json"])
def test_a_mirror_that_sends_web_pages_instead_of_files_is_named(place, tmp_path, name):
    place.add(REPO, model_files())
    place.fault(name, Page())
    assert f"{place.url} sent a web page instead of {name}." in refusal(EndpointError, place, tmp_path)
    assert shown(tmp_path) == []


def test_a_mirror_whose_file_has_another_size_is_named(place, tmp_path):
    place.add(REPO, model_files())
    place.fault("config.json", Wrong(b"{}"))
    assert f"{place.url} sends 2 bytes for config.json" in refusal(EndpointError, place, tmp_path)


def test_offline_mode_says_so_and_makes_no_request(place, tmp_path, monkeypatch):
    place.add(REPO, model_files())
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE" in refusal(OfflineError, place, tmp_path)
    assert place.requests == []


@pytest.mark.parametrize(("name", "value"), [("HTTP_PROXY", "gopher://x"), ("SSL_CERT_FILE", "/nowhere.pem")])
def test_an_environment_that_allows_no_request_is_named(place, tmp_path, monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    assert name in refusal(EndpointError, place, tmp_path)


@pytest.mark.parametrize("name", [WEIGHTS, "config.json"])
@pytest.mark.parametrize("status", [408, 429, 500, 502, 503])
def test_a_busy_hub_is_asked_again(place, tmp_path, name, status):
    place.add(REPO, model_files())
    place.fault(name, Refuse(status, {"retry-after": "0"}), Refuse(status))
    watcher = Watcher()
    assert download(place, tmp_path, watcher).run().is_dir()
    assert len(watcher.troubles) == 2
    assert f"answered {status}" in watcher.troubles[0]


def test_a_hub_that_stays_busy_is_given_up_with_its_last_answer(place, tmp_path):
    place.everything = Refuse(503, {})
    assert "Given up after 3 tries" in (said := refusal(DownloadError, place, tmp_path))
    assert f"{place.url} answered 503" in said
    assert len(place.requests) == 3


def test_a_hub_that_asks_for_too_long_a_wait_is_given_up_with_the_time(place, tmp_path):
    place.add(REPO, model_files())
    place.fault(WEIGHTS, Refuse(429, {"retry-after": "7200"}))
    assert "come back in 7200 s" in refusal(DownloadError, place, tmp_path)


def test_a_hub_that_never_answers_is_given_up(place, tmp_path):
    place.everything = Stall(0)
    said = refusal(DownloadError, place, tmp_path, read_seconds=0.05)
    assert f"Given up after 3 tries: {place.url} took too long to answer" in said


def test_nobody_listening_is_given_up_with_the_address(place, tmp_path):
    said = refusal(DownloadError, place, tmp_path, endpoint="http://127.0.0.1:1")
    assert "the connection to http://127.0.0.1:1 broke" in said


def test_a_silent_connection_is_left_and_made_again(place, tmp_path):
    files = model_files()
    place.add(REPO, files)
    place.fault(WEIGHTS, Stall(after=100_000))
    watcher = Watcher()
    folder = download(place, tmp_path, watcher, read_seconds=0.2).run()
    assert (folder / WEIGHTS).read_bytes() == files[WEIGHTS]
    assert "took too long to answer" in watcher.troubles[0]
    assert place.asked(WEIGHTS)[-1].headers["Range"] == "bytes=100000-"


def test_files_come_side_by_side(place, tmp_path):
    shards = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    place.add(REPO, {**model_files(), **{name: model_files(seed)[WEIGHTS] for seed, name in enumerate(shards)}})

    class Both(Watcher):
        def progress(self, progress):
            if all(place.asked(name) for name in shards):
                place.may_go_on.set()

    for name in shards:
        place.fault(name, *[Stall(after=1000)] * 9)
    assert download(place, tmp_path, Both(), parallel=2, tell_seconds=0.005, read_seconds=2).run().is_dir()
    assert place.may_go_on.is_set()


@pytest.mark.parametrize("answer", [Whole(), Zipped()])
def test_a_mirror_that_heeds_no_ranges_gives_the_whole_file_again(place, tmp_path, answer):
    files = model_files()
    place.add(REPO, files)
    place.fault(WEIGHTS, Cut(after=100_000), answer)
    watcher = Watcher()
    folder = download(place, tmp_path, watcher).run()
    assert (folder / WEIGHTS).read_bytes() == files[WEIGHTS]
    assert watcher.seen[-1].done == watcher.seen[-1].total


def test_a_mirror_that_always_begins_again_and_never_ends_is_given_up(place, tmp_path):
    class CutWhole(Cut, Whole):
        pass

    place.add(REPO, model_files())
    place.fault(WEIGHTS, Cut(after=100_000), *[CutWhole(after=100_000)] * 10)
    assert "Given up after 3 tries" in refusal(DownloadError, place, tmp_path)


@pytest.mark.parametrize(
    "headers",
    [
        {"content-range": "bytes 0-99999/410000"},
        {"content-range": "bytes 100000-199999/200000"},
        {"content-range": "none"},
        {"content-encoding": "gzip"},
    ],
)
def test_a_mirror_that_sends_another_part_is_named(place, tmp_path, headers):
    place.add(REPO, model_files())
    place.fault(WEIGHTS, Cut(after=100_000), Part(headers))
    assert f"{place.url} sent another part of {WEIGHTS}" in refusal(EndpointError, place, tmp_path)


def test_more_than_the_file_has_is_not_written(place, tmp_path):
    place.add(REPO, model_files())
    place.fault(WEIGHTS, Zipped(model_files(kilobytes=500)[WEIGHTS]))
    assert f"More came of {WEIGHTS} than" in refusal(EndpointError, place, tmp_path, parallel=1)
    (part,) = (tmp_path / f".pull-{NAME}" / "parts").iterdir()
    assert part.stat().st_size <= len(model_files()[WEIGHTS])


def test_small_files_may_be_compressed(place, tmp_path):
    place.add(REPO, model_files())
    place.fault("config.json", Zipped())
    folder = download(place, tmp_path).run()
    assert (folder / "config.json").read_bytes() == model_files()["config.json"]


def test_an_empty_file_is_there_too(place, tmp_path):
    place.add(REPO, {**model_files(), "empty.txt": b""})
    assert (download(place, tmp_path).run() / "empty.txt").read_bytes() == b""
    assert place.asked("empty.txt") == []


def test_all_files_are_asked_for_by_the_commit_that_was_listed(place, tmp_path):
    commit = place.add(REPO, model_files())
    download(place, tmp_path).run()
    asked = [each for name in WANTED for each in place.asked(name) if not each.path.startswith("/store/")]
    assert len(asked) == len(WANTED)
    assert [each.path for each in asked if commit not in each.path] == []


def test_files_that_an_older_commit_brought_come_by_the_revision_s_own(place, tmp_path):
    place.add(REPO, model_files())
    newest = place.add(REPO, model_files() | {"README.md": b"# Newer"})
    place.add(REPO, model_files(seed=2), revision="v2")
    assert place.repository(REPO).listing().commit == newest
    assert (download(place, tmp_path).run() / "README.md").read_bytes() == b"# Newer"


def test_the_token_goes_to_the_place_and_not_where_it_redirects(place, tmp_path):
    place.add(REPO, model_files())
    download(place, tmp_path, token=GOOD).run()
    with_token = [each.path for each in place.requests if any(GOOD in value for value in each.headers.values())]
    stored = [each.path for each in place.requests if each.path.startswith("/store/")]
    assert len(stored) == 2  # the files that are large
    assert sorted(with_token) == sorted({each.path for each in place.requests} - set(stored))


@pytest.mark.parametrize("variable", ["HF_TOKEN", "MODELSCOPE_API_TOKEN"])
def test_no_token_is_sent_that_was_not_given(place, tmp_path, monkeypatch, variable):
    monkeypatch.setenv(variable, GOOD)
    place.add(REPO, model_files())
    download(place, tmp_path).run()
    assert [each for each in place.requests if any(GOOD in value for value in each.headers.values())] == []


def test_a_mirror_that_says_no_checksums_is_named(place, tmp_path, monkeypatch):
    place.add(REPO, model_files())
    monkeypatch.setattr(f"{type(place).__module__}.checksum", lambda _content: None)
    said = refusal(EndpointError, place, tmp_path)
    assert "it says no size and checksum of '.gitattributes'" in said
    assert f"Check the address: {place.option}, " in said


def test_no_compressed_files_are_asked_for(place, tmp_path):
    place.add(REPO, model_files())
    download(place, tmp_path).run()
    asked = [each for name in WANTED for each in place.asked(name)]
    assert {each.headers["Accept-Encoding"] for each in asked} == {"identity"}


@pytest.mark.parametrize("token", [None, PLAIN])
def test_a_gated_model_says_where_to_ask_and_how_to_give_a_token(place, tmp_path, token):
    place.add(REPO, model_files(), gated=True)
    said = refusal(AccessError, place, tmp_path, token=token)
    assert "gated" in said
    assert f"{place.url}/" in said
    assert ("The token that was sent has no access" if token else place.variable) in said
    assert PLAIN not in said
    assert list(tmp_path.iterdir()) == []
    assert download(place, tmp_path, token=GOOD).run().is_dir()


def test_a_private_model_comes_with_a_token(place, tmp_path):
    place.add(REPO, model_files(), private=True)
    assert "is private" in refusal(DownloadError, place, tmp_path)
    assert download(place, tmp_path, token=GOOD).run().is_dir()


def test_an_address_with_a_path_is_a_place_too(place, tmp_path):
    refusal(DownloadError, place, tmp_path, endpoint=f"{place.url}/mirror")
    assert place.requests[0].path.startswith("/mirror/api/")
    assert REPO in place.requests[0].path


def test_a_proxy_of_the_environment_is_asked(place, tmp_path, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", place.url)
    place.everything = "missing"
    refusal(EndpointError, place, tmp_path, endpoint="http://hub.invalid")
    assert place.requests[0].path.startswith("http://hub.invalid/api/")
