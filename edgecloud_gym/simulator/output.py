"""What a step of the simulator fills."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(slots=True)
class Output:
    """Buffers that a step fills; new ones each time, so that none is shared with the past.

    Attributes:
        floats: All float observations, flat float32 (lanes * layout.size,).
        ids: Dataset rows of the candidates, int32 (lanes, M), or (lanes, 0).
        masks: Action masks, int8 (lanes, M, 1 + nodes).
        told: What the step yielded, the 8-byte words of `STEP_DTYPE` as rows, int64 (words,
            lanes or a few more); (0, lanes) where nobody reads it here.
    """

    floats: NDArray[np.float32]
    ids: NDArray[np.int32]
    masks: NDArray[np.int8]
    told: NDArray[np.int64]

    @property
    def buffers(self) -> tuple[NDArray[Any], ...]:
        """The last arguments of `step_lanes`."""
        return self.floats, self.ids, self.masks, self.told
