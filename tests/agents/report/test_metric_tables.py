"""Tables of tokens and of chosen metrics say what the summary says."""

from typing import Any

import pandas as pd
import pytest

from agents.report.metric_tables import check_columns, chosen, tokens
from tests.agents.report.test_tables import row


def rows(**more: Any) -> pd.DataFrame:
    """Two agents on five seeds; the second one's figures are twice the first one's."""
    return pd.DataFrame(
        [
            row(agent, seed, times * 2.0, **{n: times * v for n, v in more.items()})
            for times, agent in ((1, "quick"), (2, "slow"))
            for seed in range(5)
        ]
    )


def test_tokens_are_shown_where_they_are_known() -> None:
    table = tokens(rows(ttft_p50=0.2, ttft_p99=0.5, tpot_p50=0.01, tpot_p99=0.03))
    assert table is not None
    assert list(table.columns) == [
        "agent",
        "TTFT p50 s",
        "TTFT p99 s",
        "TPOT p50 ms",
        "TPOT p99 ms",
    ]
    assert table.rows[0] == ("quick", "0.200", "0.500", "10.0", "30.0")
    assert table.rows[1] == ("slow", "0.400", "1.000", "20.0", "60.0")
    assert (0, "TTFT p99 s") in table.best
    assert tokens(rows()) is None


def test_preemptions_are_shown_where_there_were_any() -> None:
    known = {"ttft_p50": 0.2, "ttft_p99": 0.5, "tpot_p50": 0.01, "tpot_p99": 0.03}
    none = tokens(rows(**known, preemptions=0.0))
    some = tokens(rows(**known, preemptions=3.0))
    assert none is not None
    assert some is not None
    assert "preempted" not in none.columns
    assert list(some.columns["preempted"]) == ["3.00", "6.00"]


def test_chosen_metrics() -> None:
    table = chosen(rows(cloud_seconds=4.0), ["cloud_seconds", "elsewhere"])
    assert table is not None
    assert list(table.columns) == ["agent", "cloud_seconds"]
    assert table.rows[0] == ("quick", "4.00 [4.00, 4.00]")
    assert chosen(rows(), ["elsewhere"]) is None


def test_unknown_metrics_are_refused() -> None:
    check_columns(["cloud_seconds"], rows(cloud_seconds=4.0))
    with pytest.raises(ValueError, match=r"--columns 'cloud_second'.*did you mean 'cloud_seconds'"):
        check_columns(["cloud_second"], rows(cloud_seconds=4.0))
    with pytest.raises(ValueError, match="--columns 'agent'"):
        check_columns(["agent"], rows())
