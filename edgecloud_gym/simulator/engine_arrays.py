"""The arrays of all engines of all lanes: what they are, and which part belongs to whom."""

from __future__ import annotations

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
        states: `ENGINE_STATE_DTYPE` (lanes, engines).
        sequences: `SEQUENCE_DTYPE` (lanes, engines, sequences of the largest).
        phases: int32 (lanes, engines, largest block).
    """

    settings: NDArray[np.void]
    curves: NDArray[np.float64]
    states: NDArray[np.void]
    sequences: NDArray[np.void]
    phases: NDArray[np.int32]

    @classmethod
    def allocate(cls, lanes: int, models: Sequence[EngineModel]) -> EngineArrays:
        """Allocates the engines of ``lanes`` lanes, which have not been reset."""
        engines = len(models)
        most = max(model.sequences for model in models)
        block = max(model.block_size for model in models)
        return cls(
            settings=engine_settings(models),
            curves=engine_curves(models),
            states=np.zeros((lanes, engines), ENGINE_STATE_DTYPE),
            sequences=np.zeros((lanes, engines, most), SEQUENCE_DTYPE),
            phases=np.zeros((lanes, engines, block), np.int32),
        )

    def reset(self, lane: int) -> None:
        """Empties a lane's engines, at time 0."""
        for k, settings in enumerate(self.settings):
            state, sequences = self.states[lane, k], self.sequences[lane, k]
            reset_engine(settings, state, sequences, self.phases[lane, k])
