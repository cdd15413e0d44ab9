"""Runs that are played together, because they differ in their seeds alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from agents.experiments.episode.lanes import tile_of
from agents.experiments.runs.playing import begin_seeds, can_play_together, play_seeds
from agents.experiments.runs.run import Run


@dataclass(frozen=True)
class Group:
    """Runs of one agent in one scenario.

    Attributes:
        runs: The runs; a single one unless they can be played side by side.
    """

    runs: tuple[Run, ...]

    @property
    def cell(self) -> tuple[str, str]:
        """The labels of scenario and agent."""
        first = self.runs[0]
        return first.scenario.label, first.spec.label

    def begin(self) -> tuple[Any, Iterator[object]]:
        """Returns where the runs are played, and an iterator that plays a step each time."""
        first = self.runs[0]
        return begin_seeds(first.scenario, first.spec, [run.seed for run in self.runs])

    def play(self, output: Path) -> None:
        """Plays the runs and keeps the results of each in the folder of an experiment."""
        first = self.runs[0]
        seeds = [run.seed for run in self.runs]
        play_seeds(first.scenario, first.spec, seeds, [run.folder(output) for run in self.runs])


def grouped(runs: Iterator[Run]) -> Iterator[Group]:
    """Puts runs together that follow each other and are played side by side."""
    for _, together in groupby(runs, _company):
        yield Group(tuple(together))


def _company(run: Run) -> tuple[str, ...]:
    if not can_play_together(run.scenario, run.spec):
        return (run.digest,)
    return (*Group((run,)).cell, str(tile_of(run.seed)))
