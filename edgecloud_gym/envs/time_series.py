"""``EdgeCloud-TimeSeries-v0``. The class's docstring is its documentation page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from edgecloud_gym.config import NOT_APPLICABLE, STATIC
from edgecloud_gym.envs.base import EdgeCloudEnv
from edgecloud_gym.envs.vector import EdgeCloudVectorEnv


class TimeSeriesEnv(EdgeCloudEnv):
    """Static batching under arrivals that change over time, with a window of past telemetry.

    ## Description
    The system of ``EdgeCloud-Static-v0``, see `StaticBatchingEnv`, when the arrival rate swings:
    by default arrivals are ``"diurnal"``, a sine of period 300 s around the mean rate; ``"mmpp"``
    (calm and busy spells), ``"gamma"`` (bursts) and recorded traces are others. The agent sees the
    recent past, so that it can tell a rising tide from an ebbing one.

    ## Action Space
    ``MultiDiscrete([3] * M)``, as in ``EdgeCloud-Static-v0``.

    ## Observation Space
    The keys of ``EdgeCloud-Static-v0`` and ``history``, float32 (H, 5), with H =
    ``history_length``: telemetry sampled every ``telemetry_interval`` (s), the latest last and
    zero before the first sample. Features: queue length, busy share of the edge, busy share of the
    cloud, arrivals since the sample before, completions since the sample before. The last two are
    shown as x / (x + the mean arrivals per interval), the queue length as x / (x + M).

    ## Rewards
    As in ``EdgeCloud-Static-v0``: minus the sum of JCTs by default.

    ## Starting State
    The first arrival, into an empty system.

    ## Episode End
    As in ``EdgeCloud-Static-v0``: terminates when all is done, or with ``drain=False`` is
    truncated at ``duration``.

    ## Information
    As in ``EdgeCloud-Static-v0``.

    ## Arguments
    See `edgecloud_gym.config.SystemConfig`; by default ``arrivals="diurnal"`` and
    ``history_length=60``.

    >>> import gymnasium
    >>> import edgecloud_gym
    >>> env = gymnasium.make("EdgeCloud-TimeSeries-v0", arrivals="mmpp", history_length=30)
    >>> observation, info = env.reset(seed=0)
    >>> observation["history"].shape
    (30, 5)

    ## Vectorized environment
    ``gymnasium.make_vec("EdgeCloud-TimeSeries-v0", num_envs=1024)``.

    ## References
    As in ``EdgeCloud-Static-v0``.

    ## Version History
    - v0: initial version
    """

    defaults: ClassVar[Mapping[str, Any]] = {
        "batching": STATIC,
        "nodes": NOT_APPLICABLE,
        "signal_age": NOT_APPLICABLE,
        "edge_engine": NOT_APPLICABLE,
        "arrivals": "diurnal",
        "history_length": 60,
    }


class TimeSeriesVectorEnv(EdgeCloudVectorEnv):
    """``EdgeCloud-TimeSeries-v0`` for many lanes."""

    single_env = TimeSeriesEnv
