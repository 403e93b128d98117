"""A process setting is what the command line or the environment says, else the file, else the default."""

from pathlib import Path

from omlx.settings import decide

BASE, CACHE = Path("/base"), Path("/cache/hub")


def decided(given=(), kept=()):
    return decide(BASE, dict(given), dict(kept), CACHE)


def test_without_anything_said_the_defaults_hold():
    settings = decided()
    assert (settings.base_path, settings.log_dir) == (BASE, BASE / "logs")
    assert (settings.model_dirs, settings.hf_cache) == ((BASE / "models",), CACHE)
    assert (settings.host, settings.port, settings.log_level, settings.ray_address) == ("127.0.0.1", 8000, "info", None)
    assert settings.otlp_endpoint is settings.hf_endpoint is None
    assert settings.given == {}


def test_the_file_comes_before_the_defaults_and_what_is_given_before_the_file():
    settings = decided(given={"port": 1}, kept={"port": 2, "host": "::1", "log_level": "debug", "log_format": "json"})
    assert (settings.port, settings.host, settings.log_level, settings.log_format) == (1, "::1", "debug", "json")


def test_zero_is_a_value():
    assert decided(given={"port": 0}, kept={"port": 2}).port == 0
    assert decided(kept={"port": 0}).port == 0


def test_the_catalog_is_told_what_was_given_and_nothing_that_the_file_says():
    assert decided(given={"ttl_seconds": 60.0}, kept={"max_queued_requests": 3}).given == {"ttl_seconds": 60.0}


def test_folders_of_the_file_begin_at_the_base_path():
    settings = decided(kept={"model_dirs": ["mine", "/elsewhere", "~/there"]})
    assert settings.model_dirs == (BASE / "mine", Path("/elsewhere"), Path.home() / "there")


def test_no_folder_is_as_good_as_none_set():
    assert decided(kept={"model_dirs": []}).model_dirs == (BASE / "models",)


def test_the_hugging_face_cache_can_be_left_out_and_taken_in_again():
    assert decided(kept={"hf_cache": False}).hf_cache is None
    assert decided(given={"hf_cache": True}, kept={"hf_cache": False}).hf_cache == CACHE
    assert decided(given={"hf_cache": False}).hf_cache is None
