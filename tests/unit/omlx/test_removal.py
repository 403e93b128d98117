"""A model is removed as a whole, alone, and only if it is where it was found; what is half removed is no model."""

import shutil
from pathlib import Path

import pytest

from actors.catalog.discovery import Discovery
from actors.folder_lock import FolderLock
from omlx.removal import ModelInUseError, RemovalError, is_in_use, remove_model
from tests.fakes.disk import write_llama, write_weights

LEFT = ".removed-0123456789abcdef"


@pytest.fixture
def models(tmp_path):
    folder = tmp_path / "models"
    folder.mkdir()
    return folder


def tree(folder):
    return sorted(each.relative_to(folder).as_posix() for each in folder.rglob("*"))


def find(root):
    return Discovery([root]).scan().models


def remove(root, name, **options):
    """Remove a model as it is found."""
    remove_model(find(root)[name].path, [root], **options)


def write_cached(cache, name="models--org--cached", commits=("aaa", "bbb")):
    """A repository as huggingface_hub keeps it, with a revision a commit."""
    repository = cache / name
    (repository / "blobs").mkdir(parents=True)
    for commit in commits:
        files = write_llama(repository / "tmp")
        snapshot = repository / "snapshots" / commit
        snapshot.mkdir(parents=True)
        for file in files.iterdir():
            blob = repository / "blobs" / f"{commit}-{file.name}"
            file.rename(blob)
            (snapshot / file.name).symlink_to(Path("../../blobs") / blob.name)
        files.rmdir()
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commits[-1])
    return repository


def test_a_model_goes_and_the_others_stay(models):
    write_llama(models / "a")
    write_llama(models / "b")
    (models / "a" / "deep" / "er").mkdir(parents=True)
    remove(models, "a")
    assert list(find(models)) == ["b"]
    assert [each.name for each in models.iterdir()] == ["b"]


def test_an_organization_goes_with_its_last_model_and_the_model_folder_never(models):
    write_llama(models / "org" / "a")
    write_llama(models / "org" / "b")
    remove(models, "a")
    assert list(find(models)) == ["b"]
    remove(models, "b")
    assert models.is_dir()
    assert tree(models) == []


def test_an_organization_that_is_a_model_folder_itself_stays(models):
    folder = write_llama(models / "org" / "a")
    remove_model(folder, [models, models / "org"])
    assert tree(models) == ["org"]


def test_a_model_that_is_given_as_a_model_folder_goes(tmp_path):
    folder = write_llama(tmp_path / "alone")
    remove(folder, "alone")
    assert tree(tmp_path) == []


def test_a_loaded_model_stays_unless_it_is_forced(models):
    folder = write_llama(models / "a")
    lock = FolderLock(folder)
    before = tree(models)
    assert is_in_use(folder)
    with pytest.raises(ModelInUseError, match="'a' is loaded"):
        remove(models, "a")
    assert tree(models) == before
    remove(models, "a", force=True)
    assert tree(models) == []
    lock.release()


def test_a_model_that_is_not_loaded_is_not_in_use(models):
    assert not is_in_use(write_llama(models / "a"))
    assert not is_in_use(models / "none")


def test_while_it_is_deleted_it_is_hidden(models, monkeypatch):
    write_llama(models / "a")
    seen = []

    def rmtree(folder, **_options):
        seen.append((folder.parent, folder.name.startswith(".removed-"), list(find(models))))

    monkeypatch.setattr(shutil, "rmtree", rmtree)
    remove(models, "a")
    assert seen == [(models, True, [])] * 2  # the second clean-up finds what this test has left


def test_what_a_killed_removal_has_left_goes_with_the_next(models, tmp_path):
    write_llama(models / "a")
    write_llama(models / LEFT)
    write_llama(models / "org" / LEFT)
    elsewhere = write_llama(tmp_path / "elsewhere")
    (models / ".removed-fedcba9876543210").symlink_to(elsewhere)
    for other in (".removed-mine", ".pull-a", ".removed-0123456789ABCDEF"):
        write_llama(models / other)
    remove(models, "a")
    kept = {".removed-fedcba9876543210", ".removed-mine", ".pull-a", ".removed-0123456789ABCDEF"}
    assert {each.name for each in models.iterdir()} == kept
    assert (elsewhere / "config.json").exists()


def test_what_is_still_loaded_of_a_forced_removal_stays_for_the_next(models):
    write_llama(models / "a")
    write_llama(models / "b")
    lock = FolderLock(write_llama(models / LEFT))
    remove(models, "a")
    assert {each.name for each in models.iterdir()} == {LEFT, "b"}
    lock.release()
    remove(models, "b")
    assert tree(models) == []


def test_of_a_link_only_the_link_goes(models, tmp_path):
    elsewhere = write_llama(tmp_path / "elsewhere")
    (models / "a").symlink_to(elsewhere)
    remove(models, "a")
    assert tree(models) == []
    assert (elsewhere / "model.safetensors").exists()


def test_links_in_a_model_are_not_followed(models, tmp_path):
    elsewhere = write_llama(tmp_path / "elsewhere")
    folder = write_llama(models / "a")
    (folder / "link").symlink_to(elsewhere)
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors").symlink_to(elsewhere / "model.safetensors")
    remove(models, "a")
    assert tree(models) == []
    assert tree(elsewhere) == ["config.json", "model.safetensors"]


def test_what_is_beyond_a_link_is_left_alone(models, tmp_path):
    write_llama(tmp_path / "elsewhere" / "a")
    (models / "org").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RemovalError, match=f"beyond the link {models}/org, which leads to {tmp_path}/elsewhere"):
        remove(models, "a")
    assert list(find(models)) == ["a"]


def test_a_model_folder_may_be_a_link(models, tmp_path):
    write_llama(models / "a")
    (tmp_path / "link").symlink_to(models)
    remove(tmp_path / "link", "a")
    assert tree(models) == []


def test_a_download_to_its_name_is_not_touched(models):
    write_llama(models / "a")
    (models / ".pull-a" / "parts").mkdir(parents=True)
    write_weights(models / ".pull-a" / "parts" / "x")
    remove(models, "a")
    assert tree(models) == [".pull-a", ".pull-a/parts", ".pull-a/parts/x"]


def test_of_a_cache_everything_of_the_model_goes_and_nothing_else(tmp_path):
    cache = tmp_path / "hub"
    others = [f"other-{number}" for number in range(8)]
    for name in ("cached", *others):
        write_cached(cache, f"models--org--{name}")  # all with the same commits, as copies of a repository have them
    remove(cache, "cached")
    assert list(find(cache)) == others
    assert len(list(cache.iterdir())) == 8


def test_a_cached_model_is_in_use_by_any_of_its_snapshots(tmp_path):
    repository = write_cached(tmp_path / "hub")
    lock = FolderLock(repository / "snapshots" / "aaa")
    assert is_in_use(repository / "snapshots" / "bbb")
    with pytest.raises(ModelInUseError):
        remove(tmp_path / "hub", "cached")
    lock.release()


def test_a_cache_that_is_not_in_order_is_left_alone(tmp_path):
    repository = write_cached(tmp_path / "hub")
    (repository / "refs" / "old").write_text("a commit that isn't there")
    with pytest.raises(RemovalError, match="isn't in order"):
        remove(tmp_path / "hub", "cached")
    assert list(find(tmp_path / "hub")) == ["cached"]


def test_what_the_disk_forbids_is_an_error_and_the_model_stays(models, monkeypatch):
    write_llama(models / "a")

    def rename(_folder, _to):  # as for who isn't root, in a folder of others
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "rename", rename)
    with pytest.raises(RemovalError, match="could not be removed: Permission denied"):
        remove(models, "a")
    assert list(find(models)) == ["a"]


def test_what_can_not_be_deleted_is_hidden_and_named(models, monkeypatch):
    write_llama(models / "a")

    def rmtree(_folder, **_options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(shutil, "rmtree", rmtree)
    with pytest.raises(RemovalError, match=rf"in {models}/\.removed-[0-9a-f]{{16}} could not be deleted: Permission denied"):
        remove(models, "a")
    assert find(models) == {}
