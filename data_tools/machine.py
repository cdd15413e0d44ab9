"""What a measurement ran on: processor, accelerator, load, library versions."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any, Final, Self

from edgecloud_gym.processors import available_processors

HOST_BOUND: Final = 0.5  # share of the time in which the device works; below it waits
_LIBRARIES: Final = ("torch", "transformers", "tokenizers", "numpy")


@dataclass(frozen=True)
class Record:
    """A JSON object whose keys are the names of the attributes; None stands for no key."""

    def to_json(self) -> dict[str, Any]:
        """Returns the object."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """Makes one of an object; keys that it does not have are passed over."""
        known = {field.name for field in fields(cls)}
        return cls(**{name: value for name, value in content.items() if name in known})


@dataclass(frozen=True)
class Limits(Record):
    """A decoding step of one sequence beside what the device could do.

    Attributes:
        step: Median time of a step over a short context, s.
        device_share: Share of the steps' wall time in which the GPU worked; None on a CPU.
        floor: What reading the weights once takes at the measured bandwidth, s.
        bandwidth: Of the device's memory, bytes/s, reading and writing together, by a copy.
        weight_bytes: All weights but those of which a step reads a row.
    """

    step: float
    floor: float
    bandwidth: float
    weight_bytes: int
    device_share: float | None = None

    def verdict(self) -> str:
        """Says what limits, in one line."""
        step, least = (f"{1e3 * time:.3g} ms" for time in (self.step, self.floor))
        floor = f"reading the weights takes {least} of {step} a step"
        if self.device_share is None:
            return floor
        bound = "host-bound" if self.device_share < HOST_BOUND else "limited by the GPU"
        return f"{bound}: the GPU worked {self.device_share:.0%} of the time; {floor}"


@dataclass(frozen=True)
class SessionConditions(Record):
    """What may differ between the sessions of one run.

    Attributes:
        started: Date and time in UTC, ISO 8601.
        load_average: Of one minute.
        cores_of_machine, cores_usable: Number of cores, and of those this process may use.
        memory_gib: Main memory.
        system: Operating system and architecture.
        python: Version.
        gpu_driver: Version line of the NVIDIA kernel driver.
        rows_before: Rows in the file when the session began.
        limits: What limited decoding, of a local model; see `Limits`.
    """

    started: str | None = None
    load_average: float | None = None
    cores_of_machine: int | None = None
    cores_usable: int | None = None
    memory_gib: float | None = None
    system: str | None = None
    python: str | None = None
    gpu_driver: str | None = None
    rows_before: int | None = None
    limits: Mapping[str, Any] | None = None


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
    return SessionConditions(
        started=datetime.now(UTC).isoformat(timespec="seconds"),
        load_average=load_average(),
        cores_of_machine=os.cpu_count(),
        cores_usable=available_processors(),
        memory_gib=memory_gib(),
        system=f"{platform.system()} {platform.machine()}",
        python=platform.python_version(),
        gpu_driver=gpu_driver(),
    ).to_json()
