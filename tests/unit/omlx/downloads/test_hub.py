"""What is the Hugging Face Hub's own, over HTTP, through the client that everybody uses."""

from pathlib import Path

import huggingface_hub

from omlx.downloads.checksum import Checksum
from omlx.downloads.errors import AccessError
from tests.fakes.downloads import REPO, WEIGHTS, model_files, refusal
from tests.fakes.file_server import Refuse
from tests.fakes.hub import checksum


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


def test_the_listing_has_sizes_and_checksums_of_both_kinds(hub):
    files = model_files()
    commit = hub.add(REPO, files)
    listing = hub.repository(REPO).listing()
    assert listing.commit == commit
    assert {each.path: (each.size, each.checksum) for each in listing.files} == {
        name: (len(content), Checksum(checksum(content))) for name, content in files.items()
    }
    assert {len(each.checksum.value) for each in listing.files} == {40, 64}


def test_what_a_hub_says_of_a_refusal_is_told_without_commands_for_the_terminal(hub, tmp_path):
    hub.everything = Refuse(403, {"x-error-message": "\x1b[2JAsk your administrator."})
    said = refusal(AccessError, hub, tmp_path)
    assert said == f"{hub.url} gives no access to {REPO} ([2JAsk your administrator)."
