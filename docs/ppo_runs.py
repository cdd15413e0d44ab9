"""Runs what docs/train.md says of PPO, and writes it to docs/data/ppo.json and ppo_ablations.csv.

python docs/ppo_runs.py
"""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import gymnasium as gym
import numpy as np
import pandas as pd
import torch
from gymnasium.vector import AutoresetMode

from agents.experiments.learners import played
from agents.experiments.scenario import Scenario
from agents.policies.playing import play_lanes
from agents.prediction.forecasts import forecast
from agents.registry import make_agent
from agents.schedulers.policy_file import bundled_model, read_policy
from edgecloud_gym import CLUSTER_ID, ENV_IDS
from edgecloud_gym.envs.cluster import default_nodes
from edgecloud_gym.node_files import read_nodes
from edgecloud_gym.nodes import Node
from edgecloud_gym.wrappers.vector import QueueHead

ROOT = Path(__file__).resolve().parent.parent
SUITE = ROOT / "agents" / "assets" / "suite" / "v1"
DATA = ROOT / "docs" / "data"
SEEDS = range(12)
ROUTERS = ("predicted-sjf", "least-kv", "join-shortest-queue", "power-of-two", "edge-first")
IN_PAIRS = ("predicted-sjf",)
SYSTEMS = dict(zip(ENV_IDS, ("static", "time-series", "continuous"), strict=True))
LOADS = (0.8, 0.95, 1.1)
TRAINING = "ppo:lanes=64:learning_rate=3e-4:n_steps=128"
BRIEFLY = "--env cluster --load 0.95 --steps 160000 --evaluate-every 80000 --evaluation-seeds 6"
ABLATIONS = {
    "nothing": "",
    "lanes that meet the same requests": ":peers=1",
    "the rule": ":rule=none",
    "advantages scaled by requests": ":scale=false",
    "time, peers and scaling (Stable-Baselines3's own buffer, 0.99 per step)": ":horizon=none",
    "ending at the first that waits (three are passed over)": ":skips=3",
}


def scenarios() -> dict[str, Scenario]:
    """Returns where the models play: pairs at three loads, and the suite's clusters."""
    found = {}
    for env_id in ENV_IDS:
        for load in LOADS:
            settings = {"load": load, "duration": 300.0, "split": "test"}
            found[f"{env_id} {load:g}"] = Scenario(env_id, settings)
    for name in ("cluster", "cache", "drift"):
        file = SUITE / f"{name}.json"
        content = json.loads(file.read_text(encoding="utf-8"))
        for cell in content["cells"]:
            settings = {**content["settings"], **cell["settings"]}
            if cell["env"] != CLUSTER_ID:
                continue
            settings.pop("slo", None)
            settings["nodes"] = read_nodes(settings["nodes"], file)
            found[f"{name}: {cell['name']}"] = Scenario(CLUSTER_ID, settings)
    for name, nodes in other_clusters().items():
        settings = {"nodes": nodes, "load": 0.95, "duration": 300.0, "split": "test"}
        found[f"cluster: {name}"] = Scenario(CLUSTER_ID, settings)
    return found


def other_clusters() -> dict[str, list[Node]]:
    """Returns clusters of other numbers of nodes than the three of the training."""
    three = default_nodes()
    again = [replace(node, name=f"{node.name}-2") for node in three]
    return {"two nodes": [three[0], three[2]], "six nodes": [*three, *again]}


def of_model(scenario: Scenario) -> list[float]:
    """Returns the mean JCT (s) of the bundled PPO in each episode, all played side by side."""
    system = SYSTEMS.get(scenario.env_id, "cluster")
    file = read_policy(bundled_model("ppo", system))
    settings = {**scenario.settings, "work_conserving": False, "observe": "id", "num_threads": 1}
    mode = AutoresetMode.NEXT_STEP
    envs = gym.make_vec(scenario.env_id, len(SEEDS), autoreset_mode=mode, **settings)
    known = forecast(file.predictor(), scenario.dataset)
    walk = QueueHead(envs, known, file.walk.skips)
    policy = file.policy(walk.single_observation_space, walk.single_action_space)
    return play_lanes(walk, policy, list(SEEDS)).tolist()


def main() -> None:
    """Writes both files."""
    torch.set_num_threads(1)
    table: dict[str, dict[str, list[float]]] = {}
    for label, scenario in scenarios().items():
        table[label] = {"ppo": of_model(scenario)}
        for name in ROUTERS if scenario.env_id == CLUSTER_ID else IN_PAIRS:
            table[label][name] = played(make_agent(name), scenario, SEEDS, explore=False).tolist()
        print(label, {name: round(float(np.mean(v)), 3) for name, v in table[label].items()})
    (DATA / "ppo.json").write_text(json.dumps(table) + "\n", encoding="utf-8")
    rows = [ablation(without, setting) for without, setting in ABLATIONS.items()]
    pd.DataFrame(rows).to_csv(DATA / "ppo_ablations.csv", index=False)


def ablation(without: str, setting: str) -> dict[str, object]:
    """Trains briefly without a part; returns the scores at first, at its best and at last."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "ppo.npz"
        command = [sys.executable, "-m", "agents.cli", "train", TRAINING + setting]
        command += [*BRIEFLY.split(), "--beside", "fcfs", "--output", str(path)]
        subprocess.run(command, check=True, cwd=ROOT)
        return ablation_row(without, path.with_suffix(".csv"))


def ablation_row(without: str, curve: Path) -> dict[str, object]:
    """Returns what a learning curve says."""
    table = pd.read_csv(curve)
    scores = table[table["agent"] == "ppo"]["score"].to_numpy()
    return {"without": without, "first": scores[0], "best": scores.min(), "last": scores[-1]}


if __name__ == "__main__":
    main()
