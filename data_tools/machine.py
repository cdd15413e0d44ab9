"""What a measurement ran on: processor, accelerator, load, library versions."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

_LIBRARIES = ("torch", "transformers", "tokenizers", "numpy")


def processor_name() -> str:
    """Returns the CPU's model name, or the architecture where the system does not tell."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def memory_gib() -> float | None:
    """Returns the machine's main memory in GiB, or None where the system does not tell."""
    if not hasattr(os, "sysconf"):
        return None
    return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)


def usable_cores() -> int:
    """Returns how many cores this process may use (its affinity, where the system has one)."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def load_average() -> float | None:
    """Returns the one-minute load average, or None where the system has none."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


def library_versions() -> dict[str, str]:
    """Returns the versions of the libraries that the measured times depend on."""
    return {name: metadata.version(name) for name in _LIBRARIES}


def gpu_driver() -> str | None:
    """Returns the NVIDIA kernel driver's version line, or None without one."""
    version = Path("/proc/driver/nvidia/version")
    return version.read_text(encoding="utf-8").splitlines()[0] if version.exists() else None


def session_conditions() -> dict[str, Any]:
    """Returns what may differ between the sessions of one run, for the run's metadata."""
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "load_average": load_average(),
        "cores_of_machine": os.cpu_count(),
        "cores_usable": usable_cores(),
        "memory_gib": memory_gib(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "gpu_driver": gpu_driver(),
    }
