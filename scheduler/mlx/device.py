"""What MLX computes on here."""

import os

import mlx.core as mx


def device_kind() -> str:
    """`cpu`, `metal` or `cuda`: what arrays live on by default."""
    if mx.default_device() == mx.Device(mx.cpu):
        return "cpu"
    return "metal" if mx.metal.is_available() else "cuda"


def gpu_memory() -> int:
    """Bytes that MLX holds for arrays, what it keeps for use again included. Any thread may ask."""
    return mx.get_active_memory() + mx.get_cache_memory()


def total_memory() -> int:
    """Bytes of the memory that models live in: the GPU's own, or the system's where it is the CPU's or shared."""
    if device_kind() == "cpu":
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    info = mx.device_info()
    return int(info["memory_size"] if "memory_size" in info else info["total_memory"])  # Metal's name, and CUDA's
