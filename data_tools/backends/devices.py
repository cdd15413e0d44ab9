"""What only a CUDA device has: captured graphs, its own clock, its kernels' time."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch


class Graph:
    """A function captured as a CUDA graph, replayed between two events of the device.

    Args:
        function: Works in place on tensors that stay where they are; it must not wait for the
            device.
        device: The GPU.
        warm_ups: Calls before the capture, which settle libraries and memory.
        pool: ``pool`` of another graph that never runs beside this one, whose memory it may use.

    Raises:
        RuntimeError: If it cannot be captured.
    """

    def __init__(
        self,
        function: Callable[[], None],
        device: torch.device,
        *,
        warm_ups: int,
        pool: Any = None,
    ) -> None:
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.device(device):
            side = side_stream(device)
            side.wait_stream(torch.cuda.current_stream(device))
            with torch.cuda.stream(side):
                for _ in range(warm_ups):
                    function()
            torch.cuda.current_stream(device).wait_stream(side)
            with torch.cuda.graph(self._graph, pool=pool, stream=side):
                function()
        self._device = device
        self._events: list[tuple[torch.cuda.Event, torch.cuda.Event]] = []
        self._busy: list[float] = []

    @property
    def pool(self) -> Any:
        """The memory that the captured work uses."""
        return self._graph.pool()

    def replay(self) -> None:
        """Runs the captured work once; the host does not wait for it."""
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
        stream = torch.cuda.current_stream(self._device)
        begin.record(stream)
        self._graph.replay()
        end.record(stream)
        self._events.append((begin, end))

    def forget(self) -> None:
        """Clears the list of device times; nothing is waited for."""
        self._events.clear()
        self._busy.clear()

    @property
    def busy(self) -> list[float]:
        """Device time of each replay since the list was cleared, s; waits for the device."""
        if self._events:
            torch.cuda.synchronize(self._device)
            self._busy += [float(a.elapsed_time(b)) / 1e3 for a, b in self._events]
            self._events.clear()
        return self._busy


@cache
def side_stream(device: torch.device) -> torch.cuda.Stream:
    """Returns the stream on which graphs of a device are captured.

    One for all: cuBLAS keeps a workspace of 32 MiB for each stream that it ever worked on.
    """
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]


def kernel_time(function: Callable[[], object]) -> float:
    """Returns for how long kernels of the GPU worked while a function ran, s."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CUDA]) as profiled:
        function()
        torch.cuda.synchronize()
    return sum(float(event.self_device_time_total) for event in profiled.key_averages()) / 1e6
