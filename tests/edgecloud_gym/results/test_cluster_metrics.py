"""Metrics of clusters against numbers worked out by hand and from the request log."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

from edgecloud_gym import CLUSTER_ID, RequestDataset
from edgecloud_gym.arrivals import Trace
from edgecloud_gym.engines import EngineModel
from edgecloud_gym.nodes import Engine, Node, Slots, StaticBatches
from edgecloud_gym.results.cluster_metrics import TokenTimes
from tests.edgecloud_gym.simulator.test_engine_nodes import MODEL, cluster, tokens
from tests.edgecloud_gym.support import STATIC, at_random, make, play

NAN = float("nan")
NODES: list[Node] = [
    Engine("fast", model=MODEL.replaced(kv_tokens=320), backlog=20),
    Engine("slow", model=MODEL.replaced(step_floor=0.02), backlog=20, network_rtt=0.05),
    StaticBatches("batches", batches=2, capacity=3, slowdown=None),
    Slots("cloud", slots=2),
]


def episode(**settings: Any) -> tuple[dict[str, float], Any, Any]:
    """Summary, request log and telemetry of an episode of random decisions."""
    times = np.linspace(0.0, 1.5, 60)
    env = cluster(NODES, tokens(), times, work_conserving=False, **settings)
    play(env, at_random(0, (1.0,) * 5))
    return env.summary(), env.request_log(), env.telemetry(0.001)


def test_times_of_tokens() -> None:
    metrics, log, _ = episode()
    ttft = (log.first_token_time - log.arrival_time).dropna()
    assert len(ttft) == (log.node.isin(["fast", "slow"])).sum() > 20
    assert metrics["ttft_mean"] == pytest.approx(ttft.mean())
    assert metrics["ttft_p99"] == pytest.approx(np.percentile(ttft, 99))
    several = log[log.output_tokens > 1]
    tpot = (several.completion_time - several.first_token_time) / (several.output_tokens - 1)
    assert metrics["tpot_p50"] == pytest.approx(np.percentile(tpot.dropna(), 50))
    total = metrics["output_token_rate"] * metrics["end_time"]
    assert total == pytest.approx(log.output_tokens.sum())


def test_shares_of_the_nodes() -> None:
    metrics, log, telemetry = episode()
    for node in NODES:
        here = log[log.node == node.name]
        assert metrics[f"completed[{node.name}]"] == len(here)
        assert metrics[f"jct_mean[{node.name}]"] == pytest.approx(here.jct.mean())
    busy = telemetry["cloud"].mean() / 2
    assert metrics["utilization[cloud]"] == pytest.approx(busy, rel=0.01)
    assert metrics["cloud_utilization"] == metrics["utilization[cloud]"]
    assert metrics["preemptions"] == log.preemptions.sum() == metrics["preemptions[fast]"] > 0
    assert metrics["completed_cloud"] == metrics["completed[cloud]"]
    started = log[log.node == "batches"].drop_duplicates(["start_time", "completion_time"])
    seconds = started.processing_time.sum() / (2 * metrics["end_time"])
    assert metrics["utilization[batches]"] == pytest.approx(seconds)
    assert 0.1 < metrics["cache_use[fast]"] < 1.0
    assert np.isnan(metrics["ttft_mean[cloud]"])


@pytest.mark.parametrize("lookahead", [False, True])
def test_cache_use_of_one_request(lookahead: bool) -> None:
    """100 of 200 blocks while the prompt is read, then one more at each of four equal steps."""
    model = EngineModel(
        step_overhead=0.0,
        step_floor=0.01,
        token_time=0.0,
        context_time=0.0,
        sequences=1,
        kv_tokens=200,
        block_size=1,
        lookahead=lookahead,
    )
    data = RequestDataset.from_arrays([1.0], prompt_tokens=[100], response_tokens=[5])
    env = make(
        CLUSTER_ID,
        nodes=[Engine("e", model=model)],
        dataset=data,
        observe="id",
        arrivals=Trace([0.0]),
    )
    env.reset(seed=0)
    env.step(np.ones(32, np.int64))
    # With lookahead, a step's block is taken when it is composed, a step ahead.
    expected = np.mean([101, 102, 103, 104, 104] if lookahead else [100, 101, 102, 103, 104]) / 200
    assert env.summary()["cache_use[e]"] == pytest.approx(expected)


@pytest.mark.parametrize("kv_tokens", [512, 2048])
def test_cache_use_is_what_arrivals_see(kv_tokens: int) -> None:
    """Poisson arrivals see time averages, with preemptions too."""
    model = EngineModel(
        step_overhead=1e-3,
        step_floor=0.02,
        token_time=1e-4,
        context_time=1e-7,
        sequences=16,
        kv_tokens=kv_tokens,
    )
    nodes = [Engine("e", model=model, backlog=10**5)]
    env = make(CLUSTER_ID, nodes=nodes, observe="id", load=1.2, duration=400.0, drain=False)
    observation, _ = env.reset(seed=0)
    seen = []
    ended = False
    while not ended:
        observation, _, terminated, truncated, _ = env.step(np.ones(32, np.int64))
        seen.append(observation["nodes"][0, 7])
        ended = terminated or truncated
    summary = env.summary()
    assert summary["preemptions"] > 50
    assert summary["cache_use[e]"] == pytest.approx(np.mean(seen), rel=0.02)


def times(**entries: list[float]) -> TokenTimes:
    return TokenTimes(**{name: np.array(values) for name, values in entries.items()})


def test_every_objective_has_to_be_met() -> None:
    """Met; late at first; slow; not known to fail; late already; no first token known."""
    known = times(
        jct=[2.0, 2.0, 2.0, NAN, NAN, 0.9],
        ttft=[0.5, 1.5, 0.5, 0.5, NAN, NAN],
        tpot=[0.1, 0.1, 0.3, NAN, NAN, NAN],
        age=[9.0, 9.0, 9.0, 2.5, 1.2, 9.0],
    )
    met, judged = known.verdicts({"jct": 3.0, "ttft": 1.0, "tpot": 0.2})
    assert met.tolist() == [True, False, False, False, False, True]
    assert judged.tolist() == [True, True, True, False, True, True]
    met, _ = known.verdicts({"ttft": 0.8})
    assert met.tolist() == [True, False, True, False, False, False]


def test_goodput_under_several_objectives() -> None:
    slo = {"jct": 1.0, "ttft": 0.1}
    metrics, log, _ = episode(slo=slo)
    first = (log.first_token_time - log.arrival_time).fillna(log.jct)
    good = (log.jct <= 1.0) & (first <= 0.1)
    assert 0 < good.sum() < len(log)
    assert_allclose(metrics["goodput"], good.sum() / metrics["end_time"])
    assert_allclose(metrics["slo_attainment"], good.mean())
    plain, _, _ = episode(slo=1.0)
    assert_allclose(plain["slo_attainment"], (log.jct <= 1.0).mean())


@pytest.mark.parametrize(
    ("env_id", "slo", "message"),
    [
        (STATIC, {"ttft": 1.0}, "must map from jct to times"),
        (CLUSTER_ID, {"tftt": 1.0}, "must map from jct, ttft, tpot"),
        (CLUSTER_ID, {}, "must map from jct, ttft, tpot"),
        (CLUSTER_ID, {"ttft": -1.0}, r"slo\['ttft'\]=-1.0"),
        (CLUSTER_ID, 0.0, "slo=0.0"),
    ],
)
def test_bad_objectives(env_id: str, slo: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(env_id, slo=slo)


def test_an_objective_that_is_text_says_what_is_allowed() -> None:
    with pytest.raises(TypeError, match=r"a number > 0 .* or map from jct, ttft, tpot"):
        make(CLUSTER_ID, slo="{jct: 3}")


def test_violations_in_the_reward_need_an_objective_on_the_jct() -> None:
    with pytest.raises(ValueError, match="on the JCT"):
        make(CLUSTER_ID, slo={"ttft": 1.0}, reward="slo_violations")
    make(CLUSTER_ID, slo={"ttft": 1.0, "jct": 2.0}, reward="slo_violations")


def test_an_episode_without_requests_has_the_same_metrics() -> None:
    env = cluster(NODES, tokens(), np.array([0.5]))
    env.reset(seed=0)
    nothing = env.summary()
    assert nothing.keys() == episode()[0].keys()


def test_first_tokens_from_measured_times() -> None:
    """A slot's own time, a batch's longest; of a dataset that has them."""
    first = np.array([0.1, 0.2, 0.3, 0.4])
    data = replace(tokens(4), base_latency=2 * first, time_to_first_token=first)
    nodes: list[Node] = [
        StaticBatches("s", capacity=2, slowdown=(1.0, 1.5), time_multiplier=2.0, network_rtt=0.01),
        Slots("c", time_multiplier=0.5, network_rtt=0.05),
    ]
    env = cluster(nodes, data, np.zeros(4), work_conserving=False)
    env.reset(seed=0)
    action = np.zeros(32, np.int64)
    action[:4] = [1, 2, 1, 2]
    assert env.request_log().first_token_time.isna().all()
    env.step(action)
    expected = [2.0 * 0.3 * 1.5 + 0.01, 0.1 + 0.05, 0.9 + 0.01, 0.2 + 0.05]
    assert_allclose(env.request_log().first_token_time, expected)
