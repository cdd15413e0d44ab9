"""Nothing is lost and nothing leaks while servers and clients come and go (INV-59)."""

from __future__ import annotations

import asyncio

from tests.agents.gateway.stress import stress


def test_each_request_ends_once_and_leaves_nothing_behind() -> None:
    report = asyncio.run(stress(requests=300, rate=100.0, hang=1.5))
    assert report.ends.total() == 300
    assert report.ends["answered"] > 200
    assert report.ends["left"] > 10
    assert report.tickets == report.at_nodes == report.active == report.connections == 0
    # Who left before its request was read was never counted.
    assert 300 - report.ends["left"] <= sum(report.counted.values()) <= 300
    assert report.counted["completed"] >= report.ends["answered"]
