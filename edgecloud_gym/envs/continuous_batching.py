"""``EdgeCloud-Continuous-v0``. The class's docstring is its documentation page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from edgecloud_gym.config import CONTINUOUS, NOT_APPLICABLE
from edgecloud_gym.envs.base import EdgeCloudEnv
from edgecloud_gym.envs.vector import EdgeCloudVectorEnv


class ContinuousBatchingEnv(EdgeCloudEnv):
    """Scheduling LLM requests between a cloud and an edge that batches continuously.

    ## Description
    As serving engines do today, the edge runs up to ``edge_concurrency`` sequences (4): a request
    joins as soon as a sequence slot is free and leaves when it is done. While n requests run, each
    progresses at rate 1 / s(n): processor sharing with the measured slowdown curve of the hardware
    (``edge_slowdown="measured"``). For an iteration time of a + b n the curve is
    s(n) = (a + b n) / (a + b); s = 1 means independent slots, s(n) = n the classical M/G/1-PS.
    Cloud and arrivals are those of ``EdgeCloud-Static-v0``, see `StaticBatchingEnv`.

    With ``edge_engine``, an `EngineModel` or the name of a bundled one, the edge is a real server
    instead, simulated step by step; see `ClusterEnv`. It needs a dataset with token counts.

    ## Action Space
    ``MultiDiscrete([3] * M)``: for each candidate 0 (wait), 1 (edge) or 2 (cloud). In the
    candidates' order every edge pick takes a free sequence slot, every cloud pick a free cloud
    slot. What does not fit, and what names an empty row, waits and is counted in
    ``info["invalid_assignments"]``. With ``work_conserving=True`` (default) slots that are still
    idle take the remaining candidates in their order, the edge's first.

    ## Observation Space
    The keys of ``EdgeCloud-Static-v0``. The features of ``edge``, (``edge_concurrency``, 4), are
    busy, fill, time since start, attained service: fill is 1 if busy, and the attained service is
    how long the work done so far would have taken alone.

    With ``edge_engine`` the observation is that of ``EdgeCloud-Cluster-v0``: ``nodes``, (2, 11),
    takes the place of ``edge`` and ``cloud``.

    ## Rewards
    As in ``EdgeCloud-Static-v0``: minus the sum of JCTs by default. The ``makespan`` term takes
    the processing time that holds if nobody joins or leaves the edge after the request.

    ## Starting State
    The first arrival, into an empty system.

    ## Episode End
    As in ``EdgeCloud-Static-v0``: terminates when all is done, or with ``drain=False`` is
    truncated at ``duration``.

    ## Information
    As in ``EdgeCloud-Static-v0``.

    ## Arguments
    See `edgecloud_gym.config.SystemConfig`, all but ``edge_batch_capacity`` and
    ``history_length``; by default ``edge_concurrency=4`` and ``edge_slowdown="measured"``.

    >>> import gymnasium
    >>> import edgecloud_gym
    >>> env = gymnasium.make("EdgeCloud-Continuous-v0", edge_concurrency=8, observe="id")
    >>> observation, info = env.reset(seed=0)
    >>> observation["edge"].shape, observation["prompt_ids"].dtype
    ((8, 4), dtype('int32'))

    ## Vectorized environment
    ``gymnasium.make_vec("EdgeCloud-Continuous-v0", num_envs=1024)``.

    ## References
    As in ``EdgeCloud-Static-v0``. Continuous batching: Yu et al., "Orca: A Distributed Serving
    System for Transformer-Based Generative Models", OSDI 2022. Processor sharing: Kleinrock,
    "Queueing Systems, Volume 2", chapter 4, 1976.

    ## Version History
    - v0: initial version
    """

    defaults: ClassVar[Mapping[str, Any]] = {
        "batching": CONTINUOUS,
        "nodes": NOT_APPLICABLE,
        "signal_age": NOT_APPLICABLE,
        "edge_concurrency": 4,
        "edge_batch_capacity": NOT_APPLICABLE,
        "edge_slowdown": "measured",
        "history_length": NOT_APPLICABLE,
    }


class ContinuousBatchingVectorEnv(EdgeCloudVectorEnv):
    """``EdgeCloud-Continuous-v0`` for many lanes."""

    single_env = ContinuousBatchingEnv
