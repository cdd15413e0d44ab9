"""``edgecloud evaluate``: trained models on prompts that they have not seen."""

import json
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pandas as pd
import pytest
from sb3_contrib import QRDQN, TQC, TRPO, MaskablePPO, RecurrentPPO
from stable_baselines3 import A2C, DQN, PPO, SAC, TD3
from stable_baselines3.common.vec_env import VecNormalize
from typer.testing import Result

from agents import make_agent, save_model
from agents.experiments.episode import run_episode
from agents.experiments.training.model_file import read_model_file
from agents.policies import CandidatePolicy, MaskableCandidatePolicy
from edgecloud_gym import ENV_IDS, load_dataset
from edgecloud_gym.sb3 import make_vec_env
from edgecloud_gym.wrappers import SequentialAssignment
from edgecloud_gym.wrappers.vector import SequentialAssignment as VectorSequentialAssignment
from tests.agents.cli.conftest import invoke as run_command
from tests.agents.cli.conftest import words

STATIC = ENV_IDS[0]
POOL = ("--set", "candidate_pool_size=4")


@pytest.fixture(scope="module")
def models(learnable: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two models, `ppo.npz` and `cn-ts.npz`."""
    folder = tmp_path_factory.mktemp("models")
    for agent, output, length in (
        ("ppo:n_steps=4:n_epochs=1:lanes=3:peers=1:width=8", "ppo.npz", ("--steps", 24)),
        ("cn-ts:hidden=(8,)", "cn-ts.npz", ("--episodes", 2)),
    ):
        long = (*length, "--evaluate-every", 0)
        result = invoke("train", agent, learnable, "--output", folder / output, *long)
        assert result.exit_code == 0, result.output
    return folder


def invoke(command: str, what: object, dataset: Path, *arguments: object) -> Result:
    pool = () if any("pool" in str(item) for item in arguments) else POOL
    fixed = ("--env", STATIC, "--dataset", dataset, "--duration", 10, *pool)
    return run_command(command, what, *fixed, *arguments)


def evaluate(dataset: Path, path: Path, output: Path, *arguments: object) -> Result:
    fixed = ("--seeds", 2, "--workers", 1, "--trust", "--output", output)
    return invoke("evaluate", path, dataset, *fixed, *arguments)


def test_models_beside_others(models: Path, learnable: Path, tmp_path: Path) -> None:
    result = evaluate(learnable, models / "ppo.npz", tmp_path, models / "cn-ts.npz")
    assert result.exit_code == 0, result.output
    assert max(map(len, result.output.splitlines()[:-1])) <= 80
    summary = pd.read_csv(tmp_path / "summary.csv")
    assert set(summary["agent"]) == {"ppo", "cn-ts", "fcfs", "sjf-oracle"}
    requests = pd.read_csv(tmp_path / "requests.csv")
    test_rows = load_dataset(learnable).rows("test")
    assert set(requests["prompt_row"]) <= set(test_rows.tolist())
    streams = [r["arrival_time"].tolist() for _, r in requests.groupby("agent")]
    assert all(stream == streams[0] for stream in streams)
    agents = json.loads((tmp_path / "run.json").read_text())["agents"]
    assert [item["explore"] for item in agents] == [False, False, True, True]
    again = evaluate(learnable, models / "ppo.npz", tmp_path, models / "cn-ts.npz")
    first, _, rest = again.output.partition("\n")
    assert "nothing is left to play" in first
    assert rest == result.output.partition("\n")[2]


def test_it_warns_of_prompts_that_were_learnt_from(
    models: Path, learnable: Path, tmp_path: Path
) -> None:
    arguments = ("--split", "all", "--agents", "fcfs")
    result = evaluate(learnable, models / "cn-ts.npz", tmp_path, *arguments)
    assert "has learnt from prompts that it meets here" in " ".join(result.output.split())


def test_evaluated_bandits_stay_as_they_are(models: Path, learnable: Path) -> None:
    data = load_dataset(learnable)
    env = gym.make(STATIC, dataset=data, duration=10.0, work_conserving=False)
    agent = make_agent("cn-ts", hidden=(8,))
    agent.load(models / "cn-ts.npz")
    before = {name: value.copy() for name, value in agent.state().items()}
    run_episode(env, agent, seed=0, agent_seed=0, explore=False)
    assert np.isfinite(agent.predicted_times()[1]).all()
    for name, value in agent.state().items():
        np.testing.assert_array_equal(value, before[name])


@pytest.mark.parametrize("slots", [1, 2])
def test_trained_without_idling_it_does_not_idle_where_that_is_allowed(
    learnable: Path, tmp_path: Path, slots: int
) -> None:
    settings = {
        "dataset": load_dataset(learnable),
        "candidate_pool_size": 4,
        "duration": 20.0,
        "edge_concurrency": slots,
    }
    PPO(CandidatePolicy, make_vec_env(STATIC, 1, 0, **settings), seed=0).save(tmp_path / "m")
    agent = make_agent("sb3", path=tmp_path / "m.zip", algorithm="PPO")
    logs = []
    for work_conserving in (True, False):
        env = gym.make(STATIC, work_conserving=work_conserving, **settings)
        run_episode(env, agent, seed=3, agent_seed=0)
        logs.append(env.unwrapped.request_log())
    pd.testing.assert_frame_equal(*logs)


def test_foreign_files_are_refused(models: Path, learnable: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "arrays.npz", a=np.zeros(3))
    (tmp_path / "text.zip").write_text("no zip")
    (tmp_path / "index.json").write_text("{}")
    content = (models / "cn-ts.npz").read_bytes()
    (tmp_path / "cut.npz").write_bytes(content[: len(content) // 2])
    for name, message in (
        ("arrays.npz", "neither a checkpoint"),
        ("text.zip", "no trained model"),
        ("cut.npz", "no trained model"),
        ("index.json", "plays as index:tuned="),
        ("absent.npz", "absent.npz"),
    ):
        result = evaluate(learnable, tmp_path / name, tmp_path / "out")
        assert result.exit_code == 2, result.output
        assert result.output.startswith("error: ")
        assert message in " ".join(result.output.split())
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("model", "arguments", "message"),
    [
        ("cn-ts.npz", ["--set", "embedding_dim=3"], "width 6"),
        ("ppo.npz", ["--agents", "fcsf"], "did you mean 'fcfs'"),
        ("ppo.npz", ["--split", "validaton"], "split"),
        ("ppo.npz", ["--agents", "fcfs,fcfs"], "each agent may occur once"),
    ],
)
def test_what_does_not_fit_is_refused(
    models: Path, learnable: Path, tmp_path: Path, model: str, arguments: list[str], message: str
) -> None:
    result = evaluate(learnable, models / model, tmp_path, *arguments)
    assert result.exit_code == 2, result.output
    assert message in " ".join(result.output.split())
    assert not list(tmp_path.iterdir())


def small(learnable: Path, **more: Any) -> dict[str, Any]:
    return {"dataset": load_dataset(learnable), "candidate_pool_size": 4, **more}


ALGORITHMS = {
    "MaskablePPO": (MaskablePPO, MaskableCandidatePolicy, "sequential"),
    "PPO": (PPO, CandidatePolicy, "sequential"),
    "A2C": (A2C, "MultiInputPolicy", "sequential"),
    "TRPO": (TRPO, "MultiInputPolicy", "sequential"),
    "DQN": (DQN, "MultiInputPolicy", "sequential"),
    "QRDQN": (QRDQN, "MultiInputPolicy", "sequential"),
    "SAC": (SAC, "MultiInputPolicy", "priority"),
    "TD3": (TD3, "MultiInputPolicy", "priority"),
    "TQC": (TQC, "MultiInputPolicy", "priority"),
}


@pytest.mark.parametrize("save", ["model.save", "save_model"])
@pytest.mark.parametrize("name", list(ALGORITHMS))
def test_the_algorithm_is_known_from_the_file(
    name: str, save: str, learnable: Path, tmp_path: Path
) -> None:
    algorithm, policy, wrapper = ALGORITHMS[name]
    buffer = {"buffer_size": 50} if "Q" in name or name in ("SAC", "TD3") else {}
    model = algorithm(policy, make_vec_env(STATIC, 1, 0, wrapper, **small(learnable)), **buffer)
    path = tmp_path / "model.zip"
    model.save(path) if save == "model.save" else save_model(model, path)
    assert read_model_file(path).algorithm == name
    if name not in ("PPO", "DQN", "TD3"):  # the others are read alike
        return
    result = evaluate(learnable, path, tmp_path / "out", "--agents", "fcfs")
    assert result.exit_code == 0, result.output
    told = "does not say how it was trained" in " ".join(result.output.split())
    assert told == (save == "model.save")


def test_what_the_agent_does_not_play_is_named(learnable: Path, tmp_path: Path) -> None:
    env = make_vec_env(STATIC, 1, 0, **small(learnable))
    RecurrentPPO("MultiInputLstmPolicy", env).save(tmp_path / "m.zip")
    result = evaluate(learnable, tmp_path / "m.zip", tmp_path / "out")
    assert result.exit_code == 2
    assert "holds a model of RecurrentPPO" in " ".join(result.output.split())
    A2C("MultiInputPolicy", env).save(tmp_path / "a.zip")
    result = evaluate(learnable, tmp_path / "a.zip", tmp_path / "out", "--algorithm", "PPO")
    assert "holds a model of A2C, not of PPO" in " ".join(result.output.split())
    assert not (tmp_path / "out").exists()


def played_with(folder: Path) -> dict[str, bool]:
    record = json.loads((folder / "run.json").read_text())
    return {item["label"]: item["work_conserving"][STATIC] for item in record["agents"]}


@pytest.mark.parametrize("filled", [True, False])
def test_models_play_as_they_were_trained(filled: bool, learnable: Path, tmp_path: Path) -> None:
    """Whoever trained them, and wherever; a foreign file plays the environment's default."""
    env = make_vec_env(STATIC, 1, 0, **small(learnable, work_conserving=filled))
    model = PPO(CandidatePolicy, env)
    save_model(model, tmp_path / "saved.zip")
    model.save(tmp_path / "foreign.zip")
    setting = ("--set", f"work_conserving={filled}".lower())
    for agent, name, length in (
        ("ppo:n_steps=4:n_epochs=1:lanes=3:peers=1:width=8", "ppo.npz", ("--steps", 24)),
        ("c2ucb", "c.npz", ("--episodes", 1)),
    ):
        long = (*length, "--evaluate-every", 0, *setting)
        done = invoke("train", agent, learnable, "--output", tmp_path / name, *long)
        assert done.exit_code == 0, done.output
    agent = make_agent("clinucb")
    run_episode(gym.make(STATIC, work_conserving=filled, **small(learnable)), agent, 0, 0)
    agent.save(tmp_path / "hand.npz")
    names = ("saved.zip", "foreign.zip", "ppo.npz", "c.npz", "hand.npz")
    files = [tmp_path / name for name in names]
    result = evaluate(learnable, files[0], tmp_path / "out", *files[1:])
    assert result.exit_code == 0, result.output
    expected = {"saved": filled, "foreign": True, "ppo": filled, "c": filled, "hand": filled}
    assert played_with(tmp_path / "out") == {**expected, "fcfs": False, "sjf-oracle": False}
    report = run_command("report", tmp_path / "out", "--output", tmp_path / "page.md")
    assert report.exit_code == 0
    for text in (result.output, (tmp_path / "page.md").read_text(encoding="utf-8")):
        assert "idle places are filled for" in " ".join(text.replace("\\", "").split())
    # What the user says goes before all of it.
    other = ("--set", f"work_conserving={not filled}".lower())
    result = evaluate(learnable, files[0], tmp_path / "set", *files[1:], *other)
    assert result.exit_code == 0, result.output
    assert set(played_with(tmp_path / "set").values()) == {not filled}


def test_evaluate_plays_what_the_models_own_environment_plays(
    learnable: Path, tmp_path: Path
) -> None:
    """The fault that taught it: 64.97 s in an experiment, 3.07 s in the model's environment."""
    settings = small(learnable, duration=10.0, split="test")
    model = PPO(CandidatePolicy, make_vec_env(STATIC, 1, 0, **settings), seed=0)
    model.save(tmp_path / "m.zip")
    wrapped = SequentialAssignment(gym.make(STATIC, **settings))
    observation, _ = wrapped.reset(seed=0)
    done = False
    while not done:
        action, _ = model.predict(observation, deterministic=True)
        observation, _, terminated, truncated, _ = wrapped.step(action)
        done = terminated or truncated
    assert evaluate(learnable, tmp_path / "m.zip", tmp_path / "out").exit_code == 0
    summary = pd.read_csv(tmp_path / "out" / "summary.csv").set_index(["agent", "seed"])
    found = summary.loc[("m", 0), "jct_mean"]
    assert found == pytest.approx(wrapped.unwrapped.summary()["jct_mean"], rel=1e-12)


@pytest.fixture(scope="module")
def normalized(learnable: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """A model trained on normalized observations, saved in three ways, and what it would choose."""
    folder = tmp_path_factory.mktemp("normalized")
    env = VecNormalize(make_vec_env(STATIC, 4, 0, **small(learnable, duration=20.0)), gamma=0.9)
    model = PPO("MultiInputPolicy", env, n_steps=64, batch_size=64, n_epochs=1, seed=0)
    model.learn(512)
    model.save(folder / "foreign.zip")
    env.save(str(folder / "vec_normalize.pkl"))
    save_model(model, folder / "saved.zip")

    def choices(settings: dict[str, Any]) -> pd.DataFrame:
        plain = SequentialAssignment(gym.make(STATIC, **settings))
        observation, _ = plain.reset(seed=5)
        done = False
        while not done:
            lane = {name: part[np.newaxis] for name, part in observation.items()}
            action, _ = model.predict(env.normalize_obs(lane), deterministic=True)
            observation, _, terminated, truncated, _ = plain.step(action[0])
            done = terminated or truncated
        log: pd.DataFrame = plain.unwrapped.request_log()
        return log

    return folder, choices


def test_statistics_of_vec_normalize_belong_to_a_model(
    normalized: tuple[Path, Any], learnable: Path
) -> None:
    folder, choices = normalized
    settings = small(learnable, duration=20.0)
    wanted = choices(settings)
    statistics = {"vec_normalize": str(folder / "vec_normalize.pkl")}
    for name, given in (("saved.zip", {}), ("foreign.zip", statistics), ("saved.zip", statistics)):
        agent = make_agent("sb3", path=folder / name, **given)
        env = gym.make(STATIC, **settings)
        run_episode(env, agent, seed=5, agent_seed=0)
        pd.testing.assert_frame_equal(env.unwrapped.request_log(), wanted)
        assert "vec_normalize" in agent.settings()


def test_that_statistics_are_missing_is_noticed(
    normalized: tuple[Path, Any], learnable: Path, tmp_path: Path
) -> None:
    folder, _ = normalized
    path = folder / "foreign.zip"
    result = evaluate(learnable, path, tmp_path / "out", "--agents", "fcfs")
    assert result.exit_code == 2
    assert "vec_normalize must name the file" in " ".join(result.output.split())
    assert "vec_normalize.pkl" in result.output  # it lies there
    statistics = ("--vec-normalize", folder / "vec_normalize.pkl")
    result = evaluate(learnable, path, tmp_path / "out", "--agents", "fcfs", *statistics)
    assert result.exit_code == 0, result.output
    (tmp_path / "junk.pkl").write_bytes(b"junk")
    result = evaluate(learnable, path, tmp_path / "o2", "--vec-normalize", tmp_path / "junk.pkl")
    assert result.exit_code == 2
    assert "no statistics of VecNormalize" in " ".join(result.output.split())


def test_models_that_may_stop_play_so(learnable: Path, tmp_path: Path) -> None:
    settings = small(learnable, duration=20.0, work_conserving=False)
    env = make_vec_env(
        *(STATIC, 2, 0, lambda envs: VectorSequentialAssignment(envs, allow_stop=True)), **settings
    )
    model = MaskablePPO(MaskableCandidatePolicy, env, n_steps=16, batch_size=16, seed=3)
    save_model(model, tmp_path / "saved.zip")
    model.save(tmp_path / "foreign.zip")
    wrapped = SequentialAssignment(gym.make(STATIC, **settings), allow_stop=True)
    observation, info = wrapped.reset(seed=2)
    done, stopped = False, 0
    while not done:
        masks = info["action_mask"]
        action, _ = model.predict(observation, action_masks=masks, deterministic=True)
        stopped += int(action == len(masks) - 1 and masks[:-1].any())
        observation, _, terminated, truncated, info = wrapped.step(action)
        done = terminated or truncated
    assert stopped
    wanted = wrapped.unwrapped.request_log()
    for name, given in (("saved.zip", {}), ("foreign.zip", {"allow_stop": True})):
        plain = gym.make(STATIC, **settings)
        run_episode(plain, make_agent("sb3", path=tmp_path / name, **given), 2, 0)
        pd.testing.assert_frame_equal(plain.unwrapped.request_log(), wanted)
    result = evaluate(learnable, tmp_path / "foreign.zip", tmp_path / "out", "--allow-stop")
    assert result.exit_code == 0, result.output


def test_options_for_models_that_are_not_there(
    models: Path, learnable: Path, tmp_path: Path
) -> None:
    result = evaluate(learnable, models / "cn-ts.npz", tmp_path / "out", "--allow-stop")
    assert result.exit_code == 2
    assert "none of the files is of Stable-Baselines3" in " ".join(result.output.split())


def test_two_models_with_brackets_in_their_names(
    models: Path, learnable: Path, tmp_path: Path
) -> None:
    for name in ("m[a].npz", "m[b].npz"):
        (tmp_path / name).write_bytes((models / "cn-ts.npz").read_bytes())
    files = (tmp_path / "m[a].npz", tmp_path / "out", tmp_path / "m[b].npz")
    result = evaluate(learnable, *files, "--baseline", "m[a]")
    assert result.exit_code == 0, result.output
    assert "m[a]" in result.output
    assert "m[b]" in result.output
    assert "vs m[a]" in result.output


def test_the_same_model_twice(models: Path, learnable: Path, tmp_path: Path) -> None:
    path = models / "cn-ts.npz"
    result = evaluate(learnable, path, tmp_path / "out", path)
    assert result.exit_code == 2
    assert "each agent may occur once" in " ".join(result.output.split())


def test_a_trained_bandit_beside_its_untrained_self(
    models: Path, learnable: Path, tmp_path: Path
) -> None:
    path = models / "cn-ts.npz"
    result = evaluate(learnable, path, tmp_path / "out", "--agents", "fcfs,cn-ts:hidden=[8]")
    assert result.exit_code == 0, result.output
    copy = tmp_path / "fcfs.npz"
    copy.write_bytes(path.read_bytes())
    result = evaluate(learnable, copy, tmp_path / "other", "--agents", "fcfs")
    assert result.exit_code == 0, result.output
    played = pd.read_csv(tmp_path / "other" / "summary.csv")["agent"].unique().tolist()
    assert played == [str(copy), "fcfs"]


def test_a_file_that_is_not_there_is_named(learnable: Path, tmp_path: Path) -> None:
    result = evaluate(learnable, tmp_path / "none.zip", tmp_path / "out")
    assert result.exit_code == 2
    assert "Errno" not in result.output
    assert "none.zip" in "".join(result.output.split())


def test_pickled_objects_need_trust(models: Path, learnable: Path, tmp_path: Path) -> None:
    env = make_vec_env(STATIC, 1, 0, **small(learnable))
    PPO(CandidatePolicy, env).save(tmp_path / "m.zip")
    options = ("--seeds", 1, "--workers", 1, "--output", tmp_path / "out")
    result = invoke("evaluate", tmp_path / "m.zip", learnable, *options)
    assert result.exit_code == 2
    assert "holds pickled objects" in words(result)
    assert "give --trust" in words(result)
    assert not (tmp_path / "out").exists()
    result = invoke("evaluate", models / "ppo.npz", learnable, *options)
    assert result.exit_code == 0, result.output


def test_a_model_of_the_package_is_evaluated_by_its_name(tmp_path: Path) -> None:
    fixed = ("--env", STATIC, "--seeds", 1, "--duration", 20, "--workers", 1, "--output", tmp_path)
    result = run_command("evaluate", "ppo-static", *fixed)
    assert result.exit_code == 0, result.output
    assert set(pd.read_csv(tmp_path / "summary.csv")["agent"]) >= {"ppo-static", "fcfs"}
    refused = run_command("evaluate", "ppo-stati", *fixed)
    assert refused.exit_code == 2
    assert "(did you mean 'ppo-static'?)" in words(refused)
    path = run_command("evaluate", "./ppo-static", *fixed)  # a path is no name
    assert path.exit_code == 2
    assert "MODEL ./ppo-static: no such file" in words(path)
