"""Where a network learns besides: in scenarios of the suite, on other prompts than its own."""

from pathlib import Path

import pytest

from agents import Scenario
from agents.cli.train_elsewhere import read_elsewhere
from agents.experiments.training import Training
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
