"""What a device says of itself goes by different names."""

import pytest

from scheduler.mlx import device


@pytest.mark.parametrize("info", [{"memory_size": 7, "device_name": "M"}, {"total_memory": 7, "free_memory": 5}])
def test_a_gpus_memory_is_found_under_either_name(monkeypatch, info):
    monkeypatch.setattr(device, "device_kind", lambda: "gpu")
    monkeypatch.setattr(device.mx, "device_info", lambda: info)
    assert device.total_memory() == 7


def test_what_is_kept_for_use_again_counts_as_taken(monkeypatch):
    monkeypatch.setattr(device.mx, "get_active_memory", lambda: 7)
    monkeypatch.setattr(device.mx, "get_cache_memory", lambda: 5)
    assert device.gpu_memory() == 12


def test_the_cpu_has_the_systems_memory():
    assert device.total_memory() > 1 << 30
