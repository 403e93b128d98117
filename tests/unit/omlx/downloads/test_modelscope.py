"""What is ModelScope's own, over HTTP: its listing, its words for a refusal, and its client, which says and keeps nothing."""

import json
import os
import subprocess
import sys
from collections import Counter

import pytest

from omlx.downloads.errors import (
    AccessError,
    DownloadError,
    EndpointError,
    UnknownModelError,
    UnknownRevisionError,
    UnsuitableError,
)
from tests.fakes import modelscope as fake
from tests.fakes.downloads import REPO, WANTED, WEIGHTS, download, model_files, refusal
from tests.fakes.file_server import GOOD, PLAIN
from tests.fakes.modelscope import _Handler

FETCH = """
import json, sys
from modelscope import snapshot_download
from modelscope_hub import HubApi
endpoint, name, folder, token = sys.argv[1:]
snapshot_download(name, endpoint=endpoint, local_dir=folder, token=token)
api = HubApi(endpoint=endpoint, token=token)
print(json.dumps({
    "revisions": [each["Revision"] for each in api.list_repo_revisions(name, "model")],
    "found": [each.repo_id for each in api.list_repos("model", search="tiny").items],
    "license": api.get_repo(name, "model").license,
    "files": {each.path: each.sha256 for each in api.list_repo_files(name, "model") if not each.is_dir},
}))
"""


def python(*arguments, home, **environment):
    """What a process of its own prints, given its arguments."""
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "PYTHONPATH")}
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        env={**kept, "HOME": str(home), **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )


def answer(monkeypatch, status, document):
    """Have everything about a repository answered in one way."""
    monkeypatch.setattr(_Handler, "_of_repository", lambda self, *_: self.send_json(document, status))


def change(monkeypatch, edit):
    """Have the listing of files changed on its way."""
    listing = fake.listing

    def changed(repo, commit):
        found = listing(repo, commit)
        edit(found)
        return found

    monkeypatch.setattr(fake, "listing", changed)


def test_the_fake_is_a_modelscope_to_its_own_client(modelscope, tmp_path):
    files = model_files()
    modelscope.add(REPO, files, gated=True, library="mlx", card={"license": "mit"})
    said = python("-c", FETCH, modelscope.url, REPO, tmp_path / "m", GOOD, home=tmp_path)
    assert {name: (tmp_path / "m" / name).read_bytes() for name in files} == files
    assert json.loads(said.stdout.splitlines()[-1]) == {
        "revisions": ["master"],
        "found": [REPO],
        "license": "mit",
        "files": {name: fake.checksum(content) for name, content in files.items()},
    }


def test_it_is_asked_as_its_client_asks(modelscope):
    modelscope.add(REPO, model_files(), library="mlx")
    place = modelscope.source()
    place.repository(REPO).listing()
    place.search("tiny", limit=5)
    place.card(REPO)
    ours = {each.path for each in modelscope.requests}
    modelscope.requests.clear()
    api = place._place.api
    api.list_repo_files(REPO, "model")
    api.list_repos("model", search="tiny", sort="downloads", page_size=5, library="mlx")
    api.get_repo(REPO, "model")
    theirs = {each.path for each in modelscope.requests}
    assert theirs <= ours
    assert {each for each in ours if "FilePath" not in each} == theirs


def test_what_its_client_tells_of_this_machine_is_not_told(modelscope, tmp_path):
    modelscope.add(REPO, model_files())
    download(modelscope, tmp_path, token=PLAIN).run()
    agents = {each.headers["User-Agent"].partition("/")[0] for each in modelscope.requests}
    assert agents == {"omlx"}


def test_a_pull_says_nothing_of_its_client_and_leaves_nothing_of_it(modelscope, tmp_path):
    modelscope.add(REPO, model_files())
    settings = {"MODELSCOPE_ENDPOINT": modelscope.url, "MODELSCOPE_API_TOKEN": PLAIN, "MODELSCOPE_LOG_LEVEL": "DEBUG"}
    done = python("-m", "omlx.cli", "pull", f"modelscope:{REPO}", home=tmp_path, **settings)
    folder = tmp_path / ".omlx" / "models" / "tiny-llama"
    assert done.stdout == f"tiny-llama is in {folder}\n"
    assert [line for line in done.stderr.splitlines() if REPO not in line] == []
    assert [each.name for each in tmp_path.iterdir() if each.name != ".omlx"] == []
    assert Counter(each.path.partition("?")[0] for each in modelscope.requests if not each.path.startswith("/store/")) == {
        f"/api/v1/models/{REPO}/repo/files": 1,
        f"/api/v1/models/{REPO}/repo": len(WANTED),
    }


def test_its_client_is_imported_by_who_asks_it_alone(tmp_path):
    modules = "omlx.cli, omlx.server, omlx.downloads.worker, omlx.downloads.sources"
    python("-c", f"import sys, {modules}; assert not any(each.startswith('modelscope') for each in sys.modules)", home=tmp_path)


def test_another_login_is_not_used(modelscope, tmp_path, monkeypatch):
    monkeypatch.setenv("MODELSCOPE_API_TOKEN", GOOD)
    modelscope.add(REPO, model_files(), private=True)
    assert "MODELSCOPE_API_TOKEN" in refusal(AccessError, modelscope, tmp_path)


def test_every_file_is_listed_with_its_sha256_and_folders_are_not(modelscope):
    files = model_files()
    modelscope.add(REPO, files)
    listed = modelscope.repository(REPO).listing().files
    assert {each.path: (each.size, each.checksum.value) for each in listed} == {
        name: (len(content), fake.checksum(content)) for name, content in files.items()
    }


@pytest.mark.parametrize("known", ["Id", "ShortId", "neither"])
def test_the_commit_is_the_revision_s_own_however_it_is_told(modelscope, monkeypatch, known):
    modelscope.add(REPO, model_files())
    newest = modelscope.add(REPO, model_files() | {"config.json": b"{}"})

    def edit(found):
        latest = found["LatestCommitter"]
        if known == "Id":
            latest.update(Id=newest, ShortId="")
            for each in found["Files"]:
                each.pop("Revision", None)
        elif known == "neither":
            found["LatestCommitter"] = None
        else:
            for each in found["Files"]:
                each["CommittedDate"] = 1

    change(monkeypatch, edit)
    assert modelscope.repository(REPO).listing().commit == newest


def test_a_commit_that_only_took_files_away_is_none_of_the_others(modelscope, tmp_path):
    files = model_files()
    before = modelscope.add(REPO, files)
    modelscope.add(REPO, {name: content for name, content in files.items() if name != "pytorch_model.bin"})
    listing = modelscope.repository(REPO).listing()
    assert listing.commit == before
    assert "pytorch_model.bin" not in {each.path for each in listing.files}
    assert (download(modelscope, tmp_path).run() / WEIGHTS).read_bytes() == files[WEIGHTS]


def test_a_listing_that_names_no_commit_is_none(modelscope, tmp_path, monkeypatch):
    modelscope.add(REPO, model_files())
    change(monkeypatch, lambda found: [each.update(Revision="") for each in found["Files"]])
    assert "it names no commit" in refusal(EndpointError, modelscope, tmp_path)


def test_an_empty_file_needs_no_checksum_and_any_other_does(modelscope, tmp_path, monkeypatch):
    modelscope.add(REPO, model_files() | {"empty.txt": b""})
    change(monkeypatch, lambda found: [each.update(Sha256="") for each in found["Files"] if not each["Size"]])
    assert (download(modelscope, tmp_path).run() / "empty.txt").read_bytes() == b""
    change(monkeypatch, lambda found: [each.update(Sha256="") for each in found["Files"] if each["Path"] == "README.md"])
    assert "it says no size and checksum of 'README.md'" in refusal(EndpointError, modelscope, tmp_path, name="b")


def test_a_listing_that_may_have_been_cut_off_is_refused(modelscope, tmp_path):
    modelscope.add(REPO, {**model_files(), **{f"{number}.txt": b"" for number in range(3000)}})
    assert "lists no more of them" in refusal(EndpointError, modelscope, tmp_path)


def test_a_repository_without_a_main_branch_asks_for_a_revision(modelscope, tmp_path):
    modelscope.add(REPO, model_files(), revision="v1")
    assert "Name another one with --revision" in refusal(UnknownRevisionError, modelscope, tmp_path)
    assert download(modelscope, tmp_path, revision="v1").run().is_dir()


def test_weights_of_another_kind_are_refused_before_anything_is_fetched(modelscope, tmp_path):
    modelscope.add(REPO, {"model.gguf": b"x"})
    assert "GGUF" in refusal(UnsuitableError, modelscope, tmp_path)


@pytest.mark.parametrize(
    ("status", "document", "kind", "words"),
    [
        (404, {"Code": 10010205001, "Message": "record not found"}, UnknownModelError, "There is no model"),
        (404, {"code": "ResourceNotFound"}, UnknownModelError, "There is no model"),
        (200, {"Code": 10010205001, "Success": False}, UnknownModelError, "There is no model"),
        (404, {"Code": 10010200001}, AccessError, "is private or gated"),
        (404, {"Code": 10990101004}, UnknownRevisionError, "has no revision"),
        (400, {"Code": 10010103009}, AccessError, "without a token"),
        (401, {}, AccessError, "without a token"),
        (
            403,
            {"Message": "\x1b[2JAsk your administrator."},
            AccessError,
            r"gives no access to .* \(\[2JAsk your administrator\)\.$",
        ),
        (403, {}, AccessError, r"gives no access to org/tiny-llama\.$"),
        (404, {"Code": 5}, EndpointError, "answered 404 for org/tiny-llama, and not as ModelScope does"),
        (404, ["no"], EndpointError, "answered 404"),
        (404, "x" * 200_000, EndpointError, "answered 404"),
        (200, {"Code": 5, "Message": "\x1b[2JNo", "Success": False}, EndpointError, r"it says no more than '\[2JNo'"),
        (200, {"Success": True}, EndpointError, "doesn't answer as ModelScope does"),
        (200, {"Data": {"Files": [{"Type": "blob"}]}}, EndpointError, "doesn't answer as ModelScope does"),
        (200, {"Data": {"Files": 7}}, EndpointError, "doesn't answer as ModelScope does"),
        (200, [], EndpointError, "it sends no object"),
    ],
)
def test_each_refusal_is_told(modelscope, tmp_path, monkeypatch, status, document, kind, words):
    modelscope.add(REPO, model_files())
    answer(monkeypatch, status, document)
    with pytest.raises(DownloadError, match=words) as caught:
        download(modelscope, tmp_path).run()
    assert type(caught.value) is kind
    assert "\x1b" not in str(caught.value)


def test_a_file_that_has_gone_meanwhile_is_named(modelscope, tmp_path, monkeypatch):
    modelscope.add(REPO, model_files())
    found = _Handler.found

    def gone(self, repo_id, repo, commit, name, headers):
        if name == "config.json":
            self._refuse(404, 10990101007, "gone")
        else:
            found(self, repo_id, repo, commit, name, headers)

    monkeypatch.setattr(_Handler, "found", gone)
    assert refusal(UnknownRevisionError, modelscope, tmp_path) == f"{REPO} has no file 'config.json' any more. Try again."
