"""Runs what docs/train.md says of PPO, and writes it to docs/data.

python docs/ppo_runs.py                  # all three parts
python docs/ppo_runs.py models           # the bundled models beside others: ppo.json
python docs/ppo_runs.py ablations nodes  # trainings: ppo_ablations.csv, ppo_nodes.json

Trainings are kept in results/ppo_runs: the same command goes on where an interrupted one stopped.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pandas as pd
import torch
from gymnasium.vector import AutoresetMode

from agents.experiments.design.scenario import Scenario
from agents.experiments.training.learners import played
from agents.experiments.training.training import Training
from agents.experiments.training.validation import Validation
from agents.policies.playing import play_lanes
from agents.prediction.forecasts import forecast
from agents.registry import make_agent
from agents.schedulers.policy_file import PolicyFile, bundled_model, read_policy
from edgecloud_gym import CLUSTER_ID, ENV_IDS, load_dataset
from edgecloud_gym.envs.cluster import default_nodes
from edgecloud_gym.files import replacing, write_json
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
TRAINING = {"lanes": 64, "learning_rate": 1e-4, "n_steps": 128, "sharpness": 6.0}
TRAINED_AT = {"load": 0.95, "duration": 150.0}
TRAINING_SEEDS = 3
ABLATION_STEPS = 163_840  # twenty rollouts
NODES_STEPS = 327_680
NODES_SEEDS = range(20)
NODES_DURATION = 300.0
LOOK_SEEDS = 6
ABLATIONS: dict[str, dict[str, Any]] = {
    "nothing": {},
    "lanes that meet the same requests": {"peers": 1},
    "the rule": {"rule": None},
    "advantages scaled by requests": {"scale": False},
    "time, peers and scaling (Stable-Baselines3's own buffer, 0.99 per step)": {"horizon": None},
    "ending at the first that waits (three are passed over)": {"skips": 3},
}


def main() -> None:
    """Makes the files that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}")
    parser.add_argument("--seeds", type=int, default=TRAINING_SEEDS, help="trainings of each kind")
    parser.add_argument("--steps", type=int, help="of each training, to try this out")
    parser.add_argument("--work", type=Path, default=ROOT / "results" / "ppo_runs")
    parser.add_argument("--output", type=Path, default=DATA)
    chosen = parser.parse_args()
    for part in chosen.parts or PARTS:
        if part not in PARTS:
            parser.error(f"no part {part!r}: there are {', '.join(PARTS)}")
    torch.set_num_threads(1)
    for part in chosen.parts or PARTS:
        PARTS[part](chosen)


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


def models(chosen: argparse.Namespace) -> None:
    """Plays the bundled models beside others."""
    table: dict[str, dict[str, list[float]]] = {}
    for label, scenario in scenarios().items():
        file = read_policy(bundled_model("ppo", SYSTEMS.get(scenario.env_id, "cluster")))
        table[label] = {"ppo": plays(file, scenario, SEEDS)}
        for name in ROUTERS if scenario.env_id == CLUSTER_ID else IN_PAIRS:
            table[label][name] = played(make_agent(name), scenario, SEEDS, explore=False).tolist()
        print(label, {name: round(float(np.mean(v)), 3) for name, v in table[label].items()})
    write_json(chosen.output / "ppo.json", table)


def plays(file: PolicyFile, scenario: Scenario, seeds: Sequence[int]) -> list[float]:
    """Returns the mean JCT (s) of a network in each episode, all played side by side."""
    settings = {**scenario.settings, "work_conserving": False, "observe": "id", "num_threads": 1}
    mode = AutoresetMode.NEXT_STEP
    envs = gym.make_vec(scenario.env_id, len(seeds), autoreset_mode=mode, **settings)
    known = forecast(file.predictor(), scenario.dataset)
    walk = QueueHead(envs, known, file.walk.skips)
    policy = file.policy(walk.single_observation_space, walk.single_action_space)
    return play_lanes(walk, policy, list(seeds)).tolist()


def ablations(chosen: argparse.Namespace) -> None:
    """Trains briefly without each part, with several seeds: a row for each training."""
    steps = chosen.steps or ABLATION_STEPS
    rows = []
    for number, (without, options) in enumerate(ABLATIONS.items()):
        for seed in range(chosen.seeds):
            path = chosen.work / f"without-{number}-{seed}.npz"
            scores = trained(path, default_nodes(), options, seed, steps)
            found = {"first": scores[0], "best": min(scores), "last": scores[-1]}
            rows.append({"without": without, "seed": seed, "steps": steps, **found})
            print(rows[-1], flush=True)
    with replacing(chosen.output / "ppo_ablations.csv") as temporary:
        pd.DataFrame(rows).to_csv(temporary, index=False)


def nodes(chosen: argparse.Namespace) -> None:
    """Trains on three, two and six nodes, and has those of three play the other clusters."""
    steps = chosen.steps or NODES_STEPS
    clusters = {"three nodes": default_nodes(), **other_clusters()}
    paths: dict[str, list[Path]] = {}
    for name, cluster in clusters.items():
        paths[name] = [
            chosen.work / f"{name.replace(' ', '-')}-{s}.npz" for s in range(chosen.seeds)
        ]
        for seed, path in enumerate(paths[name]):
            print(name, seed, trained(path, cluster, {}, seed, steps), flush=True)
    shipped = read_policy(bundled_model("ppo", "cluster"))
    table: dict[str, dict[str, Any]] = {}
    for name, cluster in other_clusters().items():
        settings = {"nodes": cluster, "load": 0.95, "duration": NODES_DURATION, "split": "test"}
        scenario = Scenario(CLUSTER_ID, settings)
        found: dict[str, Any] = {
            trained_on: [
                plays(read_policy(path), scenario, NODES_SEEDS) for path in paths[trained_on]
            ]
            for trained_on in ("three nodes", name)
        }
        found["the bundled model"] = [plays(shipped, scenario, NODES_SEEDS)]
        rule = played(make_agent("predicted-sjf"), scenario, NODES_SEEDS, explore=False)
        found["predicted-sjf"] = [rule.tolist()]
        table[name] = found
        print(
            name, {who: np.mean(values, axis=1).round(3).tolist() for who, values in found.items()}
        )
    write_json(chosen.output / "ppo_nodes.json", {"steps": steps, "clusters": table})


def trained(
    path: Path, cluster: list[Node], options: Mapping[str, Any], seed: int, steps: int
) -> list[float]:
    """Trains a network, unless that is done; returns its scores on prompts kept aside.

    Args:
        path: Its file.
        cluster: Where it learns.
        options: Besides `TRAINING`.
        seed: Random seed.
        steps: From how many steps, at least.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    common = {"dataset": "smollm2-135m", "nodes": cluster, **TRAINED_AT}
    held = Scenario(CLUSTER_ID, {**common, "split": "validation"})
    training = Training(
        name="ppo",
        options={**TRAINING, **options},
        scenario=Scenario(CLUSTER_ID, {**common, "split": "fit"}),
        seed=seed,
        prompts={"dataset": load_dataset("smollm2-135m"), "split": "fit"},
        amount=steps,
        validation=Validation((held,), LOOK_SEEDS, ("fcfs",)),
        every=max(1, steps // 2),
    )
    kept = training.resumable(path)
    if kept is None or kept[1] < steps:
        training.play(path)
    table = pd.read_csv(path.with_suffix(".csv"))
    return table[table["agent"] == "ppo"]["score"].tolist()


PARTS = {"models": models, "ablations": ablations, "nodes": nodes}

if __name__ == "__main__":
    main()
