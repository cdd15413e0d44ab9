"""The arrays of all engines of all lanes: what they are, and which part belongs to whom."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgecloud_gym.engines import EngineModel
from edgecloud_gym.simulator.compiled.engine.layout import (
    ENGINE_STATE_DTYPE,
    SEQUENCE_DTYPE,
    engine_curves,
    engine_settings,
    reset_engine,
)


@dataclass(slots=True)
class EngineArrays:
    """The engines of a number of lanes.

    Attributes:
        settings: `ENGINE_DTYPE` (engines,).
        curves: Their curves of step times, float64 (points, 2).
        bounds: Where the sequences and the phases of engine k begin, int64 (engines + 1, 2).
        states: `ENGINE_STATE_DTYPE` (lanes, engines).
        sequences: `SEQUENCE_DTYPE` (lanes, sequences), of all engines.
        phases: int32 (lanes, positions in a block), of all engines.
    """

    settings: NDArray[np.void]
    curves: NDArray[np.float64]
    bounds: NDArray[np.int64]
    states: NDArray[np.void]
    sequences: NDArray[np.void]
    phases: NDArray[np.int32]

    @classmethod
    def allocate(cls, lanes: int, models: Sequence[EngineModel]) -> EngineArrays:
        """Allocates the engines of ``lanes`` lanes, which have not been reset."""
        sizes = np.array([(model.sequences, model.block_size) for model in models])
        bounds = np.concatenate([np.zeros((1, 2), np.int64), np.cumsum(sizes, axis=0)])
        return cls(
            settings=engine_settings(models),
            curves=engine_curves(models),
            bounds=bounds.astype(np.int64),
            states=np.zeros((lanes, len(models)), ENGINE_STATE_DTYPE),
            sequences=np.zeros((lanes, bounds[-1, 0]), SEQUENCE_DTYPE),
            phases=np.zeros((lanes, bounds[-1, 1]), np.int32),
        )

    def reset(self, lane: int) -> None:
        """Empties a lane's engines, at time 0."""
        for k, ((first, phase), (last, end)) in enumerate(itertools.pairwise(self.bounds)):
            reset_engine(
                self.settings[k],
                self.states[lane, k],
                self.sequences[lane, first:last],
                self.phases[lane, phase:end],
            )
