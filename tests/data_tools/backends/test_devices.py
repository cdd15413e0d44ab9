"""What is asked of CUDA for a captured step: a stand-in for its graphs, streams and events."""

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from data_tools.backends.devices import Graph, side_stream

DEVICE = torch.device("cuda", 1)


class Card:
    """A GPU that takes 2 ms for whatever a graph holds, and notes what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.clock = 0.0  # ms
        self.capturing = False

    def stream(self, *_: Any) -> Any:
        return SimpleNamespace(wait_stream=lambda _: None)

    @contextmanager
    def block(self, *_: Any):
        yield

    @contextmanager
    def capture(self, _: Any, *, pool: Any, stream: Any):
        assert pool is None
        assert stream is side_stream(DEVICE)  # one for all graphs
        self.capturing = True
        yield
        self.capturing = False

    def graph(self) -> Any:
        return SimpleNamespace(replay=self._replay)

    def _replay(self) -> None:
        self.told.append("replay")
        self.clock += 2.0

    def event(self, *, enable_timing: bool) -> Any:
        assert enable_timing
        event = SimpleNamespace(at=0.0)
        event.record = lambda _: setattr(event, "at", self.clock)
        event.elapsed_time = lambda other: other.at - event.at
        return event


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> Iterator[Card]:
    card = Card()
    fakes = {
        "CUDAGraph": card.graph,
        "Stream": card.stream,
        "current_stream": card.stream,
        "device": card.block,
        "stream": card.block,
        "graph": card.capture,
        "Event": card.event,
        "synchronize": lambda _: card.told.append("wait"),
    }
    side_stream.cache_clear()
    for name, fake in fakes.items():
        monkeypatch.setattr(torch.cuda, name, fake)
    yield card
    side_stream.cache_clear()


def test_a_step_is_warmed_up_captured_and_replayed(card: Card) -> None:
    calls: list[bool] = []
    graph = Graph(lambda: calls.append(card.capturing), DEVICE, warm_ups=3)
    assert calls == [False, False, False, True]
    for _ in range(4):
        graph.replay()
    assert len(calls) == 4  # Python is not in the way any more
    assert card.told == ["replay"] * 4  # and nothing was waited for
    assert graph.busy == pytest.approx([2e-3] * 4)
    assert card.told[-1] == "wait"
    graph.replay()
    assert len(graph.busy) == 5
    graph.forget()
    assert graph.busy == []
