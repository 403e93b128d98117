"""A model comes whole from a hub over HTTP, through the client that everybody uses, whatever the hub answers on the way."""

import email.utils
import time
from pathlib import Path

import huggingface_hub
import pytest

from omlx.downloads.checksum import Checksum
from omlx.downloads.errors import AccessError, DownloadError, EndpointError, OfflineError, UnknownModelError, UnknownRevisionError
from omlx.downloads.hub import Hub, HubRepository
from omlx.downloads.web import retry_after
from tests.fakes.downloads import NAME, REPO, WANTED, WEIGHTS, Watcher, download, model_files, shown
from tests.fakes.file_server import GOOD, PLAIN, Cut, Page, Part, Refuse, Stall, Whole, Wrong, Zipped
from tests.fakes.hub import checksum


def refusal(kind, *arguments, **more):
    with pytest.raises(kind) as caught:
        download(*arguments, **more).run()
    return str(caught.value)


def test_the_fake_hub_is_one_to_the_library_s_own_downloader(hub, tmp_path, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", True)
    files = model_files()
    commit = hub.add(REPO, files)
    for name in (WEIGHTS, "config.json"):
        path = huggingface_hub.hf_hub_download(REPO, name, endpoint=hub.url, local_dir=tmp_path, token=False)
        assert Path(path).read_bytes() == files[name]
    api = huggingface_hub.HfApi(hub.url, token=False)
    assert api.model_info(REPO).sha == commit
    assert [each.id for each in api.list_models(search="tiny")] == [REPO]


def test_a_model_comes_whole_and_with_nothing_that_mlx_does_not_read(hub, tmp_path):
    files = model_files()
    commit = hub.add(REPO, files)
    watcher = Watcher()
    folder = download(hub, tmp_path / "models", watcher).run()
    assert folder == tmp_path / "models" / NAME
    assert sorted(each.name for each in folder.iterdir() if not each.name.startswith(".")) == WANTED
    assert {name: (folder / name).read_bytes() for name in WANTED} == {name: files[name] for name in WANTED}
    assert [each.name for each in folder.parent.iterdir()] == [NAME]
    assert commit in (folder / ".omlx-origin.json").read_text()
    last = watcher.seen[-1]
    assert (
        (last.done, last.files_done) == (last.total, last.files_total) == (sum(len(files[name]) for name in WANTED), len(WANTED))
    )


def test_the_listing_has_sizes_and_checksums_of_both_kinds(hub):
    files = model_files()
    commit = hub.add(REPO, files)
    listing = HubRepository(Hub(hub.url), REPO).listing()
    assert listing.commit == commit
    assert {each.path: (each.size, each.checksum) for each in listing.files} == {
        name: (len(content), Checksum(checksum(content))) for name, content in files.items()
    }
    assert {len(each.checksum.value) for each in listing.files} == {40, 64}


def test_all_files_are_asked_for_by_the_commit_that_was_listed(hub, tmp_path):
    commit = hub.add(REPO, model_files())
    download(hub, tmp_path).run()
    assert [each.path for each in hub.requests if "/resolve/" in each.path and commit not in each.path] == []


@pytest.mark.parametrize("asked", ["v1", "commit"])
def test_another_revision(hub, tmp_path, asked):
    old = hub.add(REPO, model_files(seed=1), revision="v1")
    hub.add(REPO, model_files(seed=2))
    folder = download(hub, tmp_path, revision=old if asked == "commit" else "v1").run()
    assert (folder / WEIGHTS).read_bytes() == model_files(seed=1)[WEIGHTS]


def test_a_revision_that_is_not_there_is_named(hub, tmp_path):
    hub.add(REPO, model_files())
    assert refusal(UnknownRevisionError, hub, tmp_path, revision="v9") == f"{REPO} has no revision 'v9'."


@pytest.mark.parametrize("token", [None, PLAIN])
def test_a_name_that_does_not_exist(hub, tmp_path, token):
    said = refusal(UnknownModelError, hub, tmp_path, repo="org/nothing", token=token)
    assert said.startswith(f"There is no model org/nothing on {hub.url}, or ")
    assert shown(tmp_path) == []


@pytest.mark.parametrize("name", ["a/b/c", "org/../x", "models--x", "-x", "org/a b"])
def test_a_name_that_can_not_be_one_is_told_without_a_request(hub, tmp_path, name):
    assert "organization/model" in refusal(UnknownModelError, hub, tmp_path, repo=name)
    assert hub.requests == []


def test_a_gated_model_says_where_to_ask_and_how_to_give_a_token(hub, tmp_path):
    hub.add(REPO, model_files(), gated=True)
    said = refusal(AccessError, hub, tmp_path)
    assert [word for word in ("gated", f"{hub.url}/{REPO}", "HF_TOKEN") if word not in said] == []
    said = refusal(AccessError, hub, tmp_path, token=PLAIN)
    assert "The token that was sent has no access yet." in said
    assert PLAIN not in said
    assert list(tmp_path.iterdir()) == []
    assert download(hub, tmp_path, token=GOOD).run().is_dir()


def test_a_private_model_comes_with_a_token(hub, tmp_path):
    hub.add(REPO, model_files(), private=True)
    assert "it is private" in refusal(UnknownModelError, hub, tmp_path)
    assert download(hub, tmp_path, token=GOOD).run().is_dir()


def test_a_token_that_is_refused_is_the_reason_and_is_not_shown(hub, tmp_path):
    hub.add(REPO, model_files())
    said = refusal(AccessError, hub, tmp_path, token="hf_expired")
    assert said.startswith(f"{hub.url} refused the token.")
    assert "hf_expired" not in said


def test_what_a_hub_says_of_a_refusal_is_told_without_commands_for_the_terminal(hub, tmp_path):
    hub.everything = Refuse(403, {"x-error-message": "\x1b[2JAsk your administrator."})
    said = refusal(AccessError, hub, tmp_path)
    assert said == f"{hub.url} gives no access to {REPO} ([2JAsk your administrator)."


def test_the_token_goes_to_the_hub_and_not_where_it_redirects(hub, tmp_path):
    hub.add(REPO, model_files())
    download(hub, tmp_path, token=GOOD).run()
    with_token = {each.path.split("/")[1] for each in hub.requests if "authorization" in {name.lower() for name in each.headers}}
    stored = [each for each in hub.requests if each.path.startswith("/store/")]
    assert with_token == {"api", "org"}
    assert len(stored) == 2  # the files that are large


def test_no_token_is_sent_that_was_not_given(hub, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", GOOD)
    hub.add(REPO, model_files())
    download(hub, tmp_path).run()
    assert [each for each in hub.requests if "authorization" in {name.lower() for name in each.headers}] == []


@pytest.mark.parametrize("everything", ["page", "missing", Refuse(200, {"content-type": "application/json"})])
def test_what_is_no_hub_is_named(hub, tmp_path, everything):
    hub.everything = everything
    said = refusal(EndpointError, hub, tmp_path)
    assert said.startswith(hub.url)
    assert "as the Hugging Face Hub does" in said
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", [WEIGHTS, "config.json"])
def test_a_mirror_that_sends_web_pages_instead_of_files_is_named(hub, tmp_path, name):
    hub.add(REPO, model_files())
    hub.fault(name, Page())
    assert f"{hub.url} sent a web page instead of {name}." in refusal(EndpointError, hub, tmp_path)
    assert shown(tmp_path) == []


def test_a_mirror_whose_file_has_another_size_is_named(hub, tmp_path):
    hub.add(REPO, model_files())
    hub.fault("config.json", Wrong(b"{}"))
    assert f"{hub.url} sends 2 bytes for config.json" in refusal(EndpointError, hub, tmp_path)


def test_a_mirror_that_says_no_checksums_is_named(hub, tmp_path, monkeypatch):
    hub.add(REPO, model_files())
    monkeypatch.setattr("tests.fakes.hub.checksum", lambda _content: None)
    assert "it says no size and checksum of '.gitattributes'" in refusal(EndpointError, hub, tmp_path)


def test_an_address_with_a_path_is_a_hub_too(hub, tmp_path):
    refusal(EndpointError, hub, tmp_path, endpoint=f"{hub.url}/mirror")
    assert hub.requests[0].path.startswith(f"/mirror/api/models/{REPO}")


def test_offline_mode_says_so_and_makes_no_request(hub, tmp_path, monkeypatch):
    hub.add(REPO, model_files())
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE" in refusal(OfflineError, hub, tmp_path)
    assert hub.requests == []


def test_a_proxy_of_the_environment_is_asked(hub, tmp_path, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", hub.url)
    hub.everything = "missing"
    refusal(EndpointError, hub, tmp_path, endpoint="http://hub.invalid")
    assert hub.requests[0].path.startswith(f"http://hub.invalid/api/models/{REPO}")


@pytest.mark.parametrize(("name", "value"), [("HTTP_PROXY", "gopher://x"), ("SSL_CERT_FILE", "/nowhere.pem")])
def test_an_environment_that_allows_no_request_is_named(hub, tmp_path, monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    assert name in refusal(EndpointError, hub, tmp_path)


@pytest.mark.parametrize("name", [WEIGHTS, "config.json"])
@pytest.mark.parametrize("status", [408, 429, 500, 502, 503])
def test_a_busy_hub_is_asked_again(hub, tmp_path, name, status):
    hub.add(REPO, model_files())
    hub.fault(name, Refuse(status, {"retry-after": "0"}), Refuse(status))
    watcher = Watcher()
    assert download(hub, tmp_path, watcher).run().is_dir()
    assert len(watcher.troubles) == 2
    assert f"answered {status}" in watcher.troubles[0]


def test_a_hub_that_stays_busy_is_given_up_with_its_last_answer(hub, tmp_path):
    hub.everything = Refuse(503, {})
    assert "Given up after 3 tries" in (said := refusal(DownloadError, hub, tmp_path))
    assert f"{hub.url} answered 503" in said
    assert len(hub.requests) == 3


def test_a_hub_that_asks_for_too_long_a_wait_is_given_up_with_the_time(hub, tmp_path):
    hub.add(REPO, model_files())
    hub.fault(WEIGHTS, Refuse(429, {"retry-after": "7200"}))
    assert "come back in 7200 s" in refusal(DownloadError, hub, tmp_path)


def test_a_wait_is_asked_for_in_seconds_by_a_date_or_in_the_hub_s_own_header():
    assert retry_after({"retry-after": " 7 "}) == 7
    assert 50 < retry_after({"retry-after": email.utils.formatdate(time.time() + 60, usegmt=True)}) <= 60
    assert retry_after({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}) == 0
    assert retry_after({"ratelimit": '"api";r=0;t=55'}) == 55
    assert retry_after({"ratelimit": '"api";r=3;t=55'}) is None
    assert retry_after({}) is None
    assert retry_after({"retry-after": "soon"}) is None


def test_a_hub_that_never_answers_is_given_up(hub, tmp_path):
    hub.everything = Stall(0)
    said = refusal(DownloadError, hub, tmp_path, read_seconds=0.05)
    assert f"Given up after 3 tries: {hub.url} took too long to answer" in said


def test_nobody_listening_is_given_up_with_the_address(hub, tmp_path):
    said = refusal(DownloadError, hub, tmp_path, endpoint="http://127.0.0.1:1")
    assert "the connection to http://127.0.0.1:1 broke" in said


def test_a_silent_connection_is_left_and_made_again(hub, tmp_path):
    files = model_files()
    hub.add(REPO, files)
    hub.fault(WEIGHTS, Stall(after=100_000))
    watcher = Watcher()
    folder = download(hub, tmp_path, watcher, read_seconds=0.2).run()
    assert (folder / WEIGHTS).read_bytes() == files[WEIGHTS]
    assert "took too long to answer" in watcher.troubles[0]
    assert hub.asked(WEIGHTS)[-1].headers["Range"] == "bytes=100000-"


def test_files_come_side_by_side(hub, tmp_path):
    shards = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    hub.add(REPO, {**model_files(), **{name: model_files(seed)[WEIGHTS] for seed, name in enumerate(shards)}})

    class Both(Watcher):
        def progress(self, progress):
            if all(hub.asked(name) for name in shards):
                hub.may_go_on.set()

    for name in shards:
        hub.fault(name, *[Stall(after=1000)] * 9)
    assert download(hub, tmp_path, Both(), parallel=2, tell_seconds=0.005, read_seconds=2).run().is_dir()
    assert hub.may_go_on.is_set()


@pytest.mark.parametrize("answer", [Whole(), Zipped()])
def test_a_mirror_that_heeds_no_ranges_gives_the_whole_file_again(hub, tmp_path, answer):
    files = model_files()
    hub.add(REPO, files)
    hub.fault(WEIGHTS, Cut(after=100_000), answer)
    watcher = Watcher()
    folder = download(hub, tmp_path, watcher).run()
    assert (folder / WEIGHTS).read_bytes() == files[WEIGHTS]
    assert watcher.seen[-1].done == watcher.seen[-1].total


def test_a_mirror_that_always_begins_again_and_never_ends_is_given_up(hub, tmp_path):
    class CutWhole(Cut, Whole):
        pass

    hub.add(REPO, model_files())
    hub.fault(WEIGHTS, Cut(after=100_000), *[CutWhole(after=100_000)] * 10)
    assert "Given up after 3 tries" in refusal(DownloadError, hub, tmp_path)


@pytest.mark.parametrize(
    "headers",
    [
        {"content-range": "bytes 0-99999/410000"},
        {"content-range": "bytes 100000-199999/200000"},
        {"content-range": "none"},
        {"content-encoding": "gzip"},
    ],
)
def test_a_mirror_that_sends_another_part_is_named(hub, tmp_path, headers):
    hub.add(REPO, model_files())
    hub.fault(WEIGHTS, Cut(after=100_000), Part(headers))
    assert f"{hub.url} sent another part of {WEIGHTS}" in refusal(EndpointError, hub, tmp_path)


def test_more_than_the_file_has_is_not_written(hub, tmp_path):
    hub.add(REPO, model_files())
    hub.fault(WEIGHTS, Zipped(model_files(kilobytes=500)[WEIGHTS]))
    assert f"More came of {WEIGHTS} than" in refusal(EndpointError, hub, tmp_path, parallel=1)
    (part,) = (tmp_path / f".pull-{NAME}" / "parts").iterdir()
    assert part.stat().st_size <= len(model_files()[WEIGHTS])


def test_no_compressed_files_are_asked_for(hub, tmp_path):
    hub.add(REPO, model_files())
    download(hub, tmp_path).run()
    assert {each.headers["Accept-Encoding"] for each in hub.requests if "/api/" not in each.path} == {"identity"}


def test_small_files_may_be_compressed(hub, tmp_path):
    hub.add(REPO, model_files())
    hub.fault("config.json", Zipped())
    folder = download(hub, tmp_path).run()
    assert (folder / "config.json").read_bytes() == model_files()["config.json"]


def test_an_empty_file_is_there_too(hub, tmp_path):
    hub.add(REPO, {**model_files(), "empty.txt": b""})
    assert (download(hub, tmp_path).run() / "empty.txt").read_bytes() == b""
    assert hub.asked("empty.txt") == []
