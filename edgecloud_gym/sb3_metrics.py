"""A callback of Stable-Baselines3 that logs what episodes amount to; `sb3` shows it, too."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from stable_baselines3.common.callbacks import BaseCallback

from edgecloud_gym.wording import listed, shown

# What is logged by default, of what an episode's summary has.
METRICS: Final = ("jct_mean", "jct_p95", "ttft_mean", "slo_attainment", "unfinished")


class EpisodeMetrics(BaseCallback):
    """Logs what the episodes of a training amount to, in whichever logger the model has.

    Give it to ``model.learn(callback=...)``. Each time the logger writes, ``edgecloud/jct_mean``
    and the like are the means over the episodes that ended since it last wrote; so is
    ``edgecloud/invalid_assignments``, a number per episode. What an episode does not know (a time
    to first token without tokens) is left out.

    It reads the terminal ``info``: at that moment the lane has been reset, and
    ``env_method("summary")`` tells of the next episode. An episode that ``TimeLimit`` cuts has none
    and is left out.
    """

    def __init__(self, metrics: Sequence[str] = METRICS, verbose: int = 0) -> None:
        """Makes a callback.

        Args:
            metrics: Keys of an episode's summary.
            verbose: As of SB3.

        Raises:
            TypeError: If they are one text.

        When it is called in the training, ValueError if a metric is unknown, or the environment is
        none of this package's.
        """
        if isinstance(metrics, str):
            raise TypeError(
                f"metrics={shown(metrics)}: must be a list of names, such as [{shown(metrics)}]"
            )
        super().__init__(verbose)
        self.metrics = tuple(metrics)
        self._invalid: NDArray[np.int64] = np.zeros(0, np.int64)

    def _on_training_start(self) -> None:
        self._invalid = np.zeros(self.training_env.num_envs, np.int64)

    def _on_step(self) -> bool:
        for lane, info in enumerate(self.locals["infos"]):
            if "invalid_assignments" not in info:
                raise ValueError(
                    "EpisodeMetrics: the info of this environment has no 'invalid_assignments' "
                    f"(it has {listed(info) or 'nothing'}): it logs environments of "
                    "edgecloud_gym, whose info must reach it through all wrappers"
                )
            self._invalid[lane] += info["invalid_assignments"]
            summary = info.get("summary")
            if summary is None:
                self._invalid[lane] *= not self.locals["dones"][lane]
                continue
            unknown = [name for name in self.metrics if name not in summary and name not in METRICS]
            if unknown:
                raise ValueError(f"metrics: {listed(unknown)}: must be among {', '.join(summary)}")
            logged = {name: summary[name] for name in self.metrics if name in summary}
            logged["invalid_assignments"] = float(self._invalid[lane])
            for name, value in logged.items():
                if not math.isnan(value):
                    self.logger.record_mean(f"edgecloud/{name}", value)
            self._invalid[lane] = 0
        return True
