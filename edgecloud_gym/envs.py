"""The three environments. Each class's docstring is its documentation page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Final

from edgecloud_gym.base import EdgeCloudEnv
from edgecloud_gym.config import CONTINUOUS, NOT_APPLICABLE, STATIC

_NO_HISTORY: Final = {"history_length": NOT_APPLICABLE}


class StaticBatchingEnv(EdgeCloudEnv):
    """Scheduling LLM requests between a cloud and an edge that batches statically.

    ## Description
    LLM requests arrive one by one. How long each will take is unknown until it is done, because
    the length of its answer is. The agent sees the waiting requests, each with an embedding of its
    prompt, and decides which of them form the next batch on the edge, which go to the cloud, and
    which wait. A batch ends for all its members when the longest of them ends, so that one long
    request holds up the short ones beside it; the cloud runs every request on its own, but costs a
    network round trip.

    - **Edge**: ``edge_concurrency`` batches side by side, each of 1 to ``edge_batch_capacity``
      requests. A batch of k requests takes max(base) · s(k), where base is a request's own
      inference time on the edge and s the slowdown of a batch, 1 unless ``edge_slowdown`` is given.
    - **Cloud**: ``cloud_concurrency`` slots. A request takes
      max(0.001 s, base · ``cloud_time_multiplier``) + ``network_rtt``.
    - **Arrivals**: a random stream, drawn in full at reset: with the same seed every agent meets
      the same requests at the same times.

    ## Action Space
    ``MultiDiscrete([3] * M)`` with M = ``candidate_pool_size``: for each candidate 0 (wait),
    1 (edge) or 2 (cloud). In the candidates' order, the first K edge picks form a batch in a free
    batch slot, the next K another one, and cloud picks take free cloud slots. What does not fit,
    and what names an empty row, waits and is counted in ``info["invalid_assignments"]``.

    With ``work_conserving=True`` (default) a slot that is still idle then takes the remaining
    candidates in their order, the edge first; a batch that the agent left small stays small. With
    ``False`` waiting is waiting.

    ## Observation Space
    A ``Dict`` of float32 ``Box``es. Unbounded quantities x are shown as x / (x + c), where c is
    the mean inference time for times and M for counts.

    | Key | Shape | Features |
    |---|---|---|
    | ``candidates`` | (M, 4) | present, time waited, prompt tokens (log scale), standardised ``priority`` score in [-5, 5] |
    | ``embeddings`` | (M, D) | principal components of the prompt's embedding, in [-10, 10] |
    | ``edge`` | (``edge_concurrency``, 4) | busy, fill, time since start, the same over the batch's slowdown |
    | ``cloud`` | (``cloud_concurrency``, 2) | busy, time since start |
    | ``system`` | (7,) | queue length, busy share of edge and of cloud, time / ``duration``, arrivals are over, longest wait, time since the last decision |

    With ``observe="id"`` the key ``prompt_ids``, int32 (M,), replaces ``embeddings``: dataset rows,
    -1 where there is no candidate. A side without slots has no key. Empty rows are zero.
    Nothing reveals the inference time of a request that is not done.

    ## Rewards
    Σ weight · term over the step. ``reward`` is the name of one term or a mapping from terms to
    weights:

    - ``jct`` (default): −∫ N(t) dt, N being the requests in the system. Over an episode it is
      −Σ JCT exactly (Little's law).
    - ``makespan``: the paper's S_t, minus the longest processing time just dispatched (s).
    - ``completed``: requests completed.
    - ``cloud_seconds``: time that cloud slots were busy (s); a cost if its weight is negative.
    - ``slo_violations``: requests completed with a JCT over ``slo``; likewise.

    ## Starting State
    The first arrival, into an empty system.

    ## Episode End
    Arrivals stop at ``duration``. With ``drain=True`` (default) the episode terminates when the
    last request is done; with ``drain=False`` it is truncated at ``duration``. If an agent lets
    all requests wait until nothing else can happen, the oldest are dispatched first come first
    served: an episode always ends, and stalling never pays.

    ## Information
    At every step the same keys: ``time`` and ``elapsed`` since the last decision (s),
    ``queue_length``, ``in_service``, ``completed_total``; of this step ``invalid_assignments``,
    ``forced_dispatches`` and the reward terms ``jct``, ``completed``, ``cloud_seconds``,
    ``slo_violations``; ``action_mask``, int8 (M, 3). ``makespan`` is there if it carries weight.

    ``env.unwrapped`` offers ``completions()``, ``request_log()``, ``telemetry()``, ``summary()``,
    ``config`` and ``dataset``.

    ## Arguments
    See `edgecloud_gym.config.SystemConfig`, all but ``history_length``.

    >>> import gymnasium
    >>> import edgecloud_gym
    >>> env = gymnasium.make("EdgeCloud-Static-v0", load=0.8, duration=60.0)
    >>> observation, info = env.reset(seed=0)
    >>> observation["candidates"].shape
    (32, 4)
    >>> observation, reward, terminated, truncated, info = env.step(env.action_space.sample())

    ## Vectorized environment
    ``gymnasium.make_vec("EdgeCloud-Static-v0", num_envs=1024)`` steps many systems in compiled
    code; lane i is the single environment with seed ``seed + i``.

    ## References
    "Cloud-Edge System for Scheduling Unpredictable LLM Requests with Combinatorial Bandit", IEEE
    Transactions on Services Computing 18(6), 3567-3580, 2025.

    ## Version History
    - v0: initial version
    """  # noqa: E501 - table rows

    defaults: ClassVar[Mapping[str, Any]] = {"batching": STATIC, **_NO_HISTORY}


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
    zero before the first sample. Features: queue length, busy share of edge and of cloud, arrivals
    and completions since the sample before, counts x shown as x / (x + the mean arrivals per
    interval), the queue length as x / (x + M).

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
        "arrivals": "diurnal",
        "history_length": 60,
    }


class ContinuousBatchingEnv(EdgeCloudEnv):
    """Scheduling LLM requests between a cloud and an edge that batches continuously.

    ## Description
    As serving engines do today, the edge runs up to ``edge_concurrency`` sequences (4): a request
    joins as soon as a sequence slot is free and leaves when it is done. While n requests run, each
    progresses at rate 1 / s(n): processor sharing with the measured slowdown curve of the hardware
    (``edge_slowdown="measured"``). For an iteration time of a + b n the curve is
    s(n) = (a + b n) / (a + b); s = 1 means independent slots, s(n) = n the classical M/G/1-PS.
    Cloud and arrivals are those of ``EdgeCloud-Static-v0``, see `StaticBatchingEnv`.

    ## Action Space
    ``MultiDiscrete([3] * M)``: for each candidate 0 (wait), 1 (edge) or 2 (cloud). In the
    candidates' order every edge pick takes a free sequence slot, every cloud pick a free cloud
    slot. What does not fit, and what names an empty row, waits and is counted in
    ``info["invalid_assignments"]``. With ``work_conserving=True`` (default) slots that are still
    idle take the remaining candidates in their order, the edge's first.

    ## Observation Space
    The keys of ``EdgeCloud-Static-v0``; of ``edge``, (``edge_concurrency``, 4), the features are
    busy, fill (1 if busy), time since start, and attained service: how long the work done so far
    would have taken alone.

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
        "edge_concurrency": 4,
        "edge_batch_capacity": NOT_APPLICABLE,
        "edge_slowdown": "measured",
        **_NO_HISTORY,
    }
