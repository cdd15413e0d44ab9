"""``EdgeCloud-Cluster-v0``. The class's docstring is its documentation page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Final

from edgecloud_gym.config import CLUSTER, NOT_APPLICABLE
from edgecloud_gym.engines import load_engine
from edgecloud_gym.envs.base import EdgeCloudEnv
from edgecloud_gym.envs.vector import EdgeCloudVectorEnv
from edgecloud_gym.nodes import Engine, Node, Slots

_OF_PAIRS: Final = (
    "edge_concurrency",
    "edge_batch_capacity",
    "edge_slowdown",
    "edge_engine",
    "cloud_concurrency",
    "cloud_time_multiplier",
    "network_rtt",
    "history_length",
)


def default_nodes() -> tuple[Node, ...]:
    """Returns two unequal engines and a cloud of independent slots.

    The first is the machine that the bundled dataset was measured on. The second is half as fast,
    holds half as many sequences, and has a small cache.
    """
    model = load_engine("smollm2-135m-cpu")
    assert model.step_times is not None
    slower = model.replaced(
        name="half as fast",
        step_times=tuple((tokens, 2.0 * time) for tokens, time in model.step_times),
        context_time=2.0 * model.context_time,
        sequences=model.sequences // 2,
        kv_tokens=2048,
        errors={},
        judged={},
    )
    return (
        Engine("edge-a", model=model, backlog=32),
        Engine("edge-b", model=slower, backlog=32, network_rtt=0.01),
        Slots("cloud", slots=4, network_rtt=0.05, backlog=32),
    )


class ClusterEnv(EdgeCloudEnv):
    """Routing LLM requests over a cluster: any list of servers, each with its speed and its queue.

    ## Description
    Requests arrive one by one, and how long each will take is unknown until it is done. They wait
    in one queue until the agent sends them to a **node**; ``nodes`` lists these, of any number and
    of four kinds:

    | Node | Serves | Time |
    |---|---|---|
    | `Engine` | a server with continuous batching, simulated step by step | that of its `EngineModel`: token budget, prompts in pieces, cache in blocks, preemptions |
    | `StaticBatches` | ``batches`` of up to ``capacity`` requests side by side | ``time_multiplier`` · max(base) · s(k) + ``network_rtt`` |
    | `Sequences` | ``sequences`` side by side | while n run, each progresses at rate 1 / s(n); work ``time_multiplier`` · base |
    | `Slots` | ``slots`` that do not disturb each other | max(0.001 s, ``time_multiplier`` · base) + ``network_rtt`` |

    A request reaches an engine or a sequence ``network_rtt`` after it was dispatched. Every node
    may have a ``backlog``: so many dispatched requests queue at the node itself, first come first
    served. With 0 a request is dispatched only into service; with a large one the agent is a
    router, for whom every arrival is a decision that cannot be taken back. An engine whose cache
    is full queues and preempts by itself.

    By default there are two unequal engines, the second half as fast and with a small cache, and a
    cloud of four slots, each with a backlog of 32. Load is counted against the sum of the nodes'
    capacities; arrivals are those of ``EdgeCloud-Static-v0``.

    ## Action Space
    ``MultiDiscrete([1 + N] * M)`` with N nodes and M = ``candidate_pool_size``: for each candidate
    0 (wait) or 1 + node. In the candidates' order every pick takes a free place of its node: the
    first ``capacity`` picks of a node of static batches form a batch, the next another one; then
    the backlog takes what is left. What does not fit, and what names an empty row, waits and is
    counted in ``info["invalid_assignments"]``.

    With ``work_conserving=True`` (default) services that are still idle then take the remaining
    candidates in their order, node by node; backlogs are left to the agent.

    ## Observation Space
    A ``Dict`` of float32 ``Box``es. Unbounded quantities x are shown as x / (x + c), where c is the
    mean inference time for times, M for the queue, a node's services for its backlog, and for its
    tokens what they would hold of mean prompts.

    | Key | Shape | Features |
    |---|---|---|
    | ``candidates`` | (M, 4) | present, time waited, prompt tokens (log scale), standardised ``priority`` score in [-5, 5] |
    | ``embeddings`` | (M, D) | principal components of the prompt's embedding, in [-10, 10] |
    | ``nodes`` | (N, 11) | static batches, sequences, engine, slots, free room, running, backlog, cache use, speed, network round trip, prompt tokens outstanding |
    | ``system`` | (5,) | queue length, time / ``duration``, arrivals are over, longest wait, time since the last decision |

    The first four features of a node say of which kind it is. Free room, running and cache use are
    shares of what there is; the speed is the node's capacity as a share of the fastest node's. With
    ``observe="id"`` the key ``prompt_ids``, int32 (M,), replaces ``embeddings``: dataset rows, -1
    where there is no candidate. Empty rows are zero.

    Real routers know their servers from a report that is some moments old. With ``signal_age`` (s)
    the rows of ``nodes`` are read at a decision and shown until one comes so much later; the action
    mask is always exact.

    Nothing reveals the inference time or the answer's length of a request that is not done.

    ## Rewards
    As in ``EdgeCloud-Static-v0``: minus the sum of JCTs by default. ``cloud_seconds`` is the busy
    time of `Slots`. The ``makespan`` term counts what starts at once on nodes that know then how
    long it takes: not engines, nor requests that have to queue.

    ## Starting State
    The first arrival, into an empty system.

    ## Episode End
    As in ``EdgeCloud-Static-v0``: terminates when all is done, or with ``drain=False`` is
    truncated at ``duration``.

    ## Information
    The keys of ``EdgeCloud-Static-v0``; ``action_mask`` is int8 (M, 1 + N). ``in_service`` counts
    all that is at nodes, in service, queued or on its way. ``completions()`` and ``request_log()``
    also tell dispatch, start of service, first token, token counts and preemptions, and
    ``summary()`` TTFT, TPOT, output tokens per second, preemptions and each node's share.

    ## Arguments
    See `edgecloud_gym.config.SystemConfig`: ``nodes`` in place of the settings of edge and cloud.
    Engines need a dataset with token counts, and a cache that holds its longest request.

    >>> import gymnasium
    >>> from edgecloud_gym.nodes import Engine, Slots
    >>> nodes = [
    ...     Engine("edge", model="smollm2-135m-cpu", backlog=16),
    ...     Slots("cloud", slots=8, time_multiplier=2.0, network_rtt=0.05),
    ... ]
    >>> env = gymnasium.make("EdgeCloud-Cluster-v0", nodes=nodes, duration=60.0)
    >>> observation, info = env.reset(seed=0)
    >>> observation["nodes"].shape, info["action_mask"].shape
    ((2, 11), (32, 3))

    ## Vectorized environment
    ``gymnasium.make_vec("EdgeCloud-Cluster-v0", num_envs=1024)``.

    ## References
    As in ``EdgeCloud-Static-v0``. Engines: Kwon et al., "Efficient Memory Management for Large
    Language Model Serving with PagedAttention", SOSP 2023; Agrawal et al., "Taming
    Throughput-Latency Tradeoff in LLM Inference with Sarathi-Serve", OSDI 2024.

    ## Version History
    - v0: initial version
    """  # noqa: E501 - table rows

    defaults: ClassVar[Mapping[str, Any]] = {
        "batching": CLUSTER,
        "nodes": default_nodes(),
        **dict.fromkeys(_OF_PAIRS, NOT_APPLICABLE),
    }


class ClusterVectorEnv(EdgeCloudVectorEnv):
    """``EdgeCloud-Cluster-v0`` for many lanes."""

    single_env = ClusterEnv
