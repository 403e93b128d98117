"""What this process takes of the system's memory."""

import ctypes
import os
import sys
from pathlib import Path


def process_bytes() -> int:
    """Bytes of memory that the system would have back if this process ended.

    On Linux, what is resident; on macOS, the footprint that the system itself judges processes by, in which Metal's buffers
    count.
    """
    return _footprint() if sys.platform == "darwin" else _resident()


def _resident() -> int:
    pages = Path("/proc/self/statm").read_text("ascii").split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


class _RusageInfo(ctypes.Structure):
    """`struct rusage_info_v0` of macOS' `<sys/resource.h>`."""

    _fields_ = (
        ("ri_uuid", ctypes.c_uint8 * 16),
        ("ri_user_time", ctypes.c_uint64),
        ("ri_system_time", ctypes.c_uint64),
        ("ri_pkg_idle_wkups", ctypes.c_uint64),
        ("ri_interrupt_wkups", ctypes.c_uint64),
        ("ri_pageins", ctypes.c_uint64),
        ("ri_wired_size", ctypes.c_uint64),
        ("ri_resident_size", ctypes.c_uint64),
        ("ri_phys_footprint", ctypes.c_uint64),
        ("ri_proc_start_abstime", ctypes.c_uint64),
        ("ri_proc_exit_abstime", ctypes.c_uint64),
    )


def _footprint() -> int:
    info = _RusageInfo()
    library = ctypes.CDLL("/usr/lib/libSystem.B.dylib", use_errno=True)
    if library.proc_pid_rusage(os.getpid(), 0, ctypes.byref(info)):  # 0 is RUSAGE_INFO_V0, the structure's version
        raise OSError(ctypes.get_errno(), "proc_pid_rusage failed")
    return int(info.ri_phys_footprint)
