"""The simulator against what is known of it: queueing theory, the paper's code, and itself."""

import math
import re
from collections.abc import Iterator
from pathlib import Path
from statistics import NormalDist
from typing import Any

import gymnasium
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from agents import make_agent
from agents.experiments.episode import run_episode
from agents.statistics import bootstrap_mean
from edgecloud_gym import ENV_IDS, RequestDataset
from edgecloud_gym.arrivals import Trace

STATIC, _, CONTINUOUS = ENV_IDS

LANES = 64  # independent, so that their means have an interval
WARM_UP, COUNTED = 1000, 9000  # requests per lane: a lane starts empty
QUANTILES = (np.arange(20_000) + 0.5) / 20_000
SERVICE_TIMES = {  # s, all of mean 1
    "exponential": -np.log1p(-QUANTILES),
    "constant": np.ones(1),
    "uniform": 2.0 * QUANTILES,
    "lognormal": np.exp([NormalDist().inv_cdf(q) - 0.5 for q in QUANTILES]),
}
WAITING, SOJOURN = "queueing delay", "time in system"


def closed_forms() -> pd.DataFrame:
    """Returns simulated and exact means of systems that queueing theory has solved."""
    rows = []
    for model, service, load, quantity, exact, env_id, settings in _solved_systems():
        lanes = _lane_means(env_id, SERVICE_TIMES[service], quantity, **settings)
        rows.append((model, service, load, quantity, exact, *bootstrap_mean(lanes)))
    columns = ["model", "service", "load", "quantity", "exact", "simulated", "low", "high"]
    return pd.DataFrame(rows, columns=columns).assign(lanes=LANES, requests=COUNTED)


def _solved_systems() -> Iterator[tuple[str, str, float, str, float, str, dict[str, Any]]]:
    """Yields name, service times, load, quantity, its exact mean (s), environment and settings."""
    for load in (0.7, 0.9):
        for servers in (1, 4):
            exact = _erlang_c(servers, load) / (servers * (1.0 - load))
            cloud = {"edge_concurrency": 0, "cloud_concurrency": servers}
            edge = {"edge_concurrency": servers, "cloud_concurrency": 0, "edge_batch_capacity": 1}
            for node, settings in (("cloud", cloud), ("edge", edge)):
                given = {**settings, "arrival_rate": servers * load}
                yield f"M/M/{servers}, {node}", "exponential", load, WAITING, exact, STATIC, given
        for service in ("constant", "uniform", "lognormal"):
            times = SERVICE_TIMES[service]
            rate = load / float(times.mean())
            exact = rate * float(np.mean(times**2)) / (2.0 * (1.0 - load))
            given = {"edge_concurrency": 0, "cloud_concurrency": 1, "arrival_rate": rate}
            yield "M/G/1, cloud", service, load, WAITING, exact, CONTINUOUS, given
    for slots, services in ((100, ("exponential", "constant", "lognormal")), (3, ("exponential",))):
        name = "M/G/1-PS, edge" if slots == 100 else f"M/M/1-PS of at most {slots}, edge"
        for service in services:
            load, mean = 0.7, float(SERVICE_TIMES[service].mean())
            given = {
                "edge_concurrency": slots,
                "edge_slowdown": np.arange(1.0, slots + 1.0),
                "cloud_concurrency": 0,
                "arrival_rate": load / mean,
            }
            yield name, service, load, SOJOURN, mean / (1.0 - load), CONTINUOUS, given


def _erlang_c(servers: int, load: float) -> float:
    """Returns the probability that a request must wait; ``load`` is that of each server."""
    offered = servers * load
    waiting = offered**servers / math.factorial(servers) / (1.0 - load)
    return waiting / (sum(offered**k / math.factorial(k) for k in range(servers)) + waiting)


def _lane_means(
    env_id: str, times: NDArray[np.float64], quantity: str, **settings: Any
) -> list[float]:
    """Serves each lane first come first served; returns its mean of the quantity (s)."""
    env: Any = gymnasium.make_vec(
        env_id,
        num_envs=LANES,
        dataset=RequestDataset.from_arrays(base_latency=times),
        observe="id",
        duration=(WARM_UP + COUNTED) / settings["arrival_rate"],
        candidate_pool_size=4,
        network_rtt=0.0,
        cloud_time_multiplier=1.0,
        autoreset_mode="Disabled",
        **settings,
    )
    env.reset(seed=0)
    actions = np.zeros((LANES, 4), np.int64)  # free slots take the oldest by themselves
    running = np.ones(LANES, np.bool_)
    while running.any():
        running &= ~env.step_active(actions, running)[2]
    column = {WAITING: "queueing_delay", SOJOURN: "jct"}[quantity]
    return [float(env.request_log(lane)[column].iloc[WARM_UP:].mean()) for lane in range(LANES)]


def reference_traces(folder: Path) -> pd.DataFrame:
    """Returns, per trace of the paper's own code, how far the simulator is from it."""
    rows = []
    for path in sorted(folder.glob("*.csv")):
        name, expected = path.stem, pd.read_csv(path)
        batch, edge, cloud = map(int, re.findall(r"_[kec](\d+)", name))
        agent = name.split(f"_c{cloud}_")[1].replace("_", "-")
        env: Any = gymnasium.make(
            STATIC,
            dataset=RequestDataset.from_arrays(base_latency=expected["base_latency"]),
            observe="id",
            prompt_order="sequential",
            arrivals=Trace(expected["arrival_time"]),
            edge_concurrency=edge,
            edge_batch_capacity=batch,
            cloud_concurrency=cloud,
            cloud_time_multiplier=1.0,
            network_rtt=0.05,
            candidate_pool_size=batch + cloud,
            work_conserving=False,
        )
        run_episode(env, make_agent(agent), seed=0, agent_seed=0)
        log = env.unwrapped.request_log()
        times = ["arrival_time", "start_time", "completion_time"]
        difference = (log[times] - expected[times]).abs().max(axis=None, skipna=False)
        same = int((log["node"] == expected["node"]).sum())
        rows.append((name, agent, edge, batch, cloud, len(expected), same, difference))
    columns = ["trace", "agent", "edge_concurrency", "edge_batch_capacity", "cloud_concurrency"]
    columns += ["requests", "same_node", "largest_difference"]
    return pd.DataFrame(rows, columns=columns)


def identities() -> pd.DataFrame:
    """Returns how far the environments are from what must hold exactly."""
    rows = [check(env_id) for check in (_littles_law, _lanes) for env_id in ENV_IDS]
    return pd.DataFrame(rows, columns=["identity", "env", "compared", "largest_difference"])


def _littles_law(env_id: str) -> tuple[str, str, int, float]:
    """Compares the sum of rewards with minus the sum of JCTs, relatively, over episodes."""
    env: Any = gymnasium.make(env_id, duration=120.0)
    env.action_space.seed(0)
    worst, episodes = 0.0, 20
    for seed in range(episodes):
        env.reset(seed=seed)
        total, done = 0.0, False
        while not done:
            _, reward, done, _, _ = env.step(env.action_space.sample())
            total += reward
        jct = env.unwrapped.request_log()["jct"].sum()
        worst = max(worst, abs(total + jct) / jct)
    return "littles law", env_id, episodes, worst


def _lanes(env_id: str) -> tuple[str, str, int, float]:
    """Compares each lane of a vector environment with the single one of the same seed."""
    lanes, settings = 8, {"duration": 60.0}
    vector: Any = gymnasium.make_vec(env_id, num_envs=lanes, **settings)
    singles: list[Any] = [gymnasium.make(env_id, **settings) for _ in range(lanes)]
    together, _ = vector.reset(seed=0)
    apart = [env.reset(seed=seed)[0] for seed, env in enumerate(singles)]
    vector.action_space.seed(0)
    running, compared, worst = set(range(lanes)), 0, 0.0
    while running:
        for lane in running:
            for name, values in apart[lane].items():
                compared += values.size
                worst = max(worst, float(np.abs(together[name][lane] - values).max()))
        actions = vector.action_space.sample()
        together, rewards, ended, _, _ = vector.step(actions)
        for lane in sorted(running):
            apart[lane], reward, done, _, _ = singles[lane].step(actions[lane])
            compared += 2
            worst = max(worst, abs(reward - float(rewards[lane])), float(done != ended[lane]))
            if done:
                running.remove(lane)
    return "lanes", env_id, compared, worst
