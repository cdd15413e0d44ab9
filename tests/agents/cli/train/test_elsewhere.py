"""Where a network learns besides: in scenarios of the suite, on other prompts than its own."""

from pathlib import Path

import pytest

from agents import Scenario
from agents.cli.train.elsewhere import read_elsewhere
from agents.experiments.design.replay import ReplayedDataset
from agents.experiments.training.training import Training
from edgecloud_gym import CLUSTER_ID, load_dataset
from edgecloud_gym.nodes import Slots
from tests.agents.cli.conftest import invoke, words

HERE = Scenario(CLUSTER_ID, {"split": "fit"}, "here")


def test_scenarios_of_the_suite_are_played_on_other_prompts() -> None:
    found = read_elsewhere(["cache", "drift/cluster-speed"], "ppo", HERE, "fit")
    assert [scenario.label for scenario in found] == [
        *(f"cache/tight-{load:g}" for load in (0.8, 0.95, 1.1)),
        "drift/cluster-speed",
    ]
    fit = set(load_dataset("smollm2-135m").rows("fit").tolist())
    for scenario in found:
        assert set(scenario.make().unwrapped.simulator.workload.rows.tolist()) == fit
    assert found[-1].settings["speed_changes"] == [["edge-a", 150.0, 0.5]]


def test_a_group_counts_as_far_as_it_is_of_the_environment() -> None:
    found = read_elsewhere(["drift"], "ppo", HERE, "fit")
    assert {scenario.env_id for scenario in found} == {CLUSTER_ID}


@pytest.fixture
def azure(tmp_path: Path) -> Path:
    """A trace of two requests a second, in Azure's format."""
    path = tmp_path / "azure.csv"
    rows = [f"2023-11-16 18:00:{n / 2:09.6f}0,100,{20 + 5 * n}" for n in range(100)]
    path.write_text("\n".join(["TIMESTAMP,ContextTokens,GeneratedTokens", *rows]))
    return path


def test_a_scenario_that_replays_a_trace_is_learnt_in_on_the_same_side(azure: Path) -> None:
    (found,) = read_elsewhere(["azure"], "ppo", HERE, "fit", {"azure": azure})
    fit = set(load_dataset("smollm2-135m").rows("fit").tolist())
    assert isinstance(found.dataset, ReplayedDataset)
    assert set(found.dataset.source_rows.tolist()) <= fit
    for name in ("azure", "azure/cluster-0.95"):
        with pytest.raises(ValueError, match=f"scenario '{name}': replays a trace.*--azure FILE"):
            read_elsewhere([name], "ppo", HERE, "fit")


def test_networks_learn_from_traces_and_are_looked_at_on_others_prompts(
    azure: Path, learning_briefly: None, tmp_path: Path
) -> None:
    del learning_briefly
    chosen = ("--env", "continuous", "--output", tmp_path / "x.npz", "--duration", 20)
    brief = ("--steps", 128, "--evaluation-seeds", 1, "--beside", "fcfs")
    replayed = ("--trace", azure, "--scenario", "azure", "--azure", azure)
    result = invoke("train", "ppo:lanes=2", *chosen, *brief, *replayed)
    assert result.exit_code == 0, result.output
    assert "Mean JCT on prompts kept aside" in words(result)


def test_a_trace_that_is_not_there(tmp_path: Path) -> None:
    given = ("--azure", tmp_path / "nope.csv", "--scenario", "azure")
    train = ("train", "ppo", "--env", "cluster", "--output", tmp_path / "x.npz")
    for command in (train, ("bench-suite", "--output", tmp_path)):
        result = invoke(*command, *given)
        assert result.exit_code == 2
        assert "nope.csv: No such file or directory" in words(result)


@pytest.mark.parametrize(
    ("names", "agent", "message"),
    [
        (["drift"], "c2ucb", "c2ucb learns in one place"),
        (["nope"], "ppo", "scenario 'nope'"),
        (["new-frozen"], "ppo", "must have a scenario of EdgeCloud-Cluster-v0"),
    ],
)
def test_what_cannot_be_is_refused(names: list[str], agent: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_elsewhere(names, agent, HERE, "fit")


def test_another_number_of_nodes_is_refused() -> None:
    two = [Slots("a", slots=1), Slots("b", slots=1)]
    place = Scenario(CLUSTER_ID, {"split": "fit", "nodes": two}, "two")
    with pytest.raises(ValueError, match=r"cache/tight-0\.8 has 3 nodes, not 2 as two"):
        read_elsewhere(["cache"], "ppo", place, "fit")


def test_what_was_learnt_elsewhere_defines_a_training() -> None:
    alone = Training("ppo", {}, HERE, 0, {}, 1)
    besides = Training("ppo", {}, HERE, 0, {}, 1, elsewhere=(HERE,))
    assert besides.scenarios == (HERE, HERE)
    assert alone.record() != besides.record()


def test_the_command_tells_of_a_scenario_that_there_is_none(tmp_path: Path) -> None:
    chosen = ("--env", "cluster", "--scenario", "cahce", "--output", tmp_path / "x.npz")
    result = invoke("train", "ppo", *chosen)
    assert result.exit_code == 2
    assert "scenario 'cahce'" in words(result)


@pytest.mark.parametrize(("agent", "file"), [("predictor", "p.npz"), ("index", "i.json")])
def test_who_learns_in_one_place_is_told_so(agent: str, file: str, tmp_path: Path) -> None:
    chosen = ("--env", "cluster", "--scenario", "cache", "--output", tmp_path / file)
    result = invoke("train", agent, *chosen)
    assert result.exit_code == 2
    assert f"--scenario: {agent} learns in one place" in words(result)
    assert not (tmp_path / file).exists()
