"""What a device says of itself goes by different names."""

import pytest

from scheduler.mlx import device


@pytest.mark.parametrize("info", [{"memory_size": 7, "device_name": "M"}, {"total_memory": 7, "free_memory": 5}])
def test_a_gpus_memory_is_found_under_either_name(monkeypatch, info):
    monkeypatch.setattr(device, "device_kind", lambda: "gpu")
    monkeypatch.setattr(device.mx, "device_info", lambda: info)
    assert device.total_memory() == 7


@pytest.mark.parametrize(("kind", "taken"), [("cpu", 0), ("metal", 0), ("cuda", 12)])
def test_only_a_gpu_with_memory_of_its_own_takes_any(monkeypatch, kind, taken):
    monkeypatch.setattr(device, "device_kind", lambda: kind)
    monkeypatch.setattr(device.mx, "get_active_memory", lambda: 7)
    monkeypatch.setattr(device.mx, "get_cache_memory", lambda: 5)
    assert device.gpu_memory() == taken


def test_the_cpu_has_the_systems_memory():
    assert device.total_memory() > 1 << 30
