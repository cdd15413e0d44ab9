import os

import pytest

from edgecloud_gym.processors import available_processors


def test_only_the_allowed_ones_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3}, raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    assert available_processors() == 1


@pytest.mark.parametrize(("machine", "expected"), [(8, 8), (None, 1)])
def test_systems_without_affinity(
    machine: int | None, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: machine)
    assert available_processors() == expected
