"""Which families of prompts arrive when."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from edgecloud_gym.checks import did_you_mean
from edgecloud_gym.config import SystemConfig
from edgecloud_gym.dataset import RequestDataset
from edgecloud_gym.wording import listed, shown


@dataclass(frozen=True, eq=False)
class Mixture:
    """What `SystemConfig.prompt_mix` means for a dataset.

    Attributes:
        names: What the families of the split are called.
        decks: The rows of each family of the split, int32, one array each.
        times: When the shares change, s (k,).
        shares: The probability of each family before the first of these times and from each one
            on, (k + 1, families). Before the first it is the family's part of the split.
    """

    names: tuple[str, ...]
    decks: tuple[NDArray[np.int32], ...]
    times: NDArray[np.float64]
    shares: NDArray[np.float64]

    @classmethod
    def resolve(
        cls, config: SystemConfig, dataset: RequestDataset, rows: NDArray[np.int32]
    ) -> Self | None:
        """Works it out for the rows of the split (n,); None where there is no mix.

        Raises:
            ValueError: If the dataset has no families, or none of such a name in the split.
        """
        if not config.prompt_mix:
            return None
        if dataset.families is None:
            raise ValueError(
                f"prompt_mix={shown(list(config.prompt_mix))}: dataset {shown(dataset.name)} has "
                "no families; give its file a column 'family', or RequestDataset(families=...)"
            )
        labels = np.array(dataset.families)[rows]
        found, counts = np.unique(labels, return_counts=True)
        names = found.tolist()
        for _, asked in config.prompt_mix:
            for family, weight in asked.items():
                if weight and family not in names:
                    raise ValueError(
                        f"prompt_mix: split {shown(config.split)} of dataset {shown(dataset.name)} "
                        f"has no family {shown(family)}{did_you_mean(family, names)}; must be one "
                        f"of {listed(names)}"
                    )
        weights = [[asked.get(name, 0.0) for name in names] for _, asked in config.prompt_mix]
        table = np.array([counts, *weights], np.float64)
        return cls(
            names=tuple(names),
            decks=tuple(rows[labels == name] for name in names),
            times=np.array([time for time, _ in config.prompt_mix]),
            shares=table / table.sum(axis=1, keepdims=True),
        )

    def draw_families(
        self, rng: np.random.Generator, arrivals: NDArray[np.float64]
    ) -> NDArray[np.int64]:
        """Returns the family of each request by number (n,), independently of each other.

        Args:
            rng: The episode's generator.
            arrivals: When the requests arrive, s (n,), sorted.
        """
        bounds = [0, *np.searchsorted(arrivals, self.times).tolist(), len(arrivals)]
        parts = [
            rng.choice(len(self.decks), size=stop - start, p=share)
            for start, stop, share in zip(bounds, bounds[1:], self.shares, strict=False)
        ]
        return np.concatenate(parts)
