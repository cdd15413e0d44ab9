"""``EdgeCloud-Static-v0``. The class's docstring is its documentation page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from edgecloud_gym.config import NOT_APPLICABLE, STATIC
from edgecloud_gym.envs.base import EdgeCloudEnv
from edgecloud_gym.envs.vector import EdgeCloudVectorEnv


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
    | ``edge`` | (``edge_concurrency``, 4) | busy, fill, time since start, attained service |
    | ``cloud`` | (``cloud_concurrency``, 2) | busy, time since start |
    | ``system`` | (7,) | queue length, busy share of the edge, busy share of the cloud, time / ``duration``, arrivals are over, longest wait, time since the last decision |

    With ``observe="id"`` the key ``prompt_ids``, int32 (M,), replaces ``embeddings``: dataset rows,
    -1 where there is no candidate. A side without slots has no key. Empty rows are zero. The
    attained service of a batch is the time since its start over its slowdown.

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
    ``queue_length``, ``in_service``, ``completed_total``; of the moment at which the step ended
    ``arrivals`` and ``services_ended`` (a batch is one service); of this step
    ``invalid_assignments``, ``forced_dispatches`` and the reward terms ``jct``, ``completed``,
    ``cloud_seconds``, ``slo_violations``; ``action_mask``, int8 (M, 3). ``makespan`` is there if it
    carries weight. The last step of an episode also tells its ``summary``, the metrics by name. (A
    `TimeLimit` cuts from outside: ask ``env.unwrapped.summary()`` then.)

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

    defaults: ClassVar[Mapping[str, Any]] = {
        "batching": STATIC,
        "nodes": NOT_APPLICABLE,
        "signal_age": NOT_APPLICABLE,
        "edge_engine": NOT_APPLICABLE,
        "history_length": NOT_APPLICABLE,
    }


class StaticBatchingVectorEnv(EdgeCloudVectorEnv):
    """``EdgeCloud-Static-v0`` for many lanes."""

    single_env = StaticBatchingEnv
