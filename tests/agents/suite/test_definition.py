"""The suite's files: frozen, playable, and what they promise of prompts."""

from typing import Any

import numpy as np
import pytest

from agents.base import Agent
from agents.experiments.design.spec import AgentSpec
from agents.registry import AGENT_NAMES
from agents.suite import load_suite
from agents.suite.entrants import BAD, Stable, default_entrants, with_yardsticks
from edgecloud_gym.dataset import load_dataset

FROZEN = {1: "c50df9d71cca7d7142a6"}


@pytest.mark.parametrize(("version", "digest"), FROZEN.items())
def test_a_version_never_changes(version: int, digest: str) -> None:
    """A leaderboard compares with another one of the same files alone: make a new version."""
    assert load_suite(version).digest == digest


def test_every_scenario_can_be_played() -> None:
    suite = load_suite().with_traces([])
    for cell in suite.cells:
        env = cell.scenario(suite.dataset, {}).make()
        for seed in cell.seeds[:1]:
            env.reset(seed=seed)
    assert [*suite.skipped] == ["azure"]
    assert len({cell.name for cell in suite.cells}) == len(suite.cells)


def test_prompts_that_come_once_suffice_for_every_seed() -> None:
    suite = load_suite().select(["new-learning"])
    for cell in suite.cells:
        base: Any = cell.scenario(suite.dataset, {}).make().unwrapped
        for seed in cell.seeds:
            base.reset(seed=seed)
            rows = base.simulator.state.requests["row"][0]
            arrived = rows[: int(base.simulator.state.lanes["requests"][0])]
            assert len(np.unique(arrived)) == len(arrived) > 90


def test_the_nine_cells_are_in_three_protocols() -> None:
    cells = load_suite().cells
    for group, learn, order in (
        ("new-frozen", False, "shuffle"),
        ("new-learning", True, "once"),
        ("recurring-learning", True, "shuffle"),
    ):
        mine = [cell for cell in cells if cell.group == group]
        settings = {(cell.env_id, cell.settings["load"]) for cell in mine}
        assert len(mine) == len(settings) == 9
        assert {cell.learn for cell in mine} == {learn}
        assert {cell.settings.get("prompt_order", "shuffle") for cell in mine} == {order}
        assert {cell.settings["split"] for cell in mine} == {"test"}


def test_families_of_the_wrong_predictor_do_not_arrive() -> None:
    suite = load_suite().select(["wrong-predictor"])
    known = set(load_dataset(suite.dataset).families or ())
    for cell in suite.cells:
        ((_, mix),) = cell.settings["prompt_mix"]
        assert not set(mix) & set(cell.known_families or ())
        assert set(mix) | set(cell.known_families or ()) <= known


class Predicting(Agent):
    """Takes a predictor, and starts from zero otherwise."""

    from_zero = True

    def __init__(self, predictor: str | None = None) -> None:
        self.predictor = predictor

    def act(self, observation: Any, info: Any, explore: bool = True) -> Any:
        raise NotImplementedError


def test_who_brings_what(tmp_path: Any) -> None:
    """A file of training but at a cold start, and a predictor of the families that are known."""
    suite = load_suite()
    stable = Stable(suite, [AgentSpec("c2ucb"), AgentSpec(Predicting)], tmp_path)

    def playing(agent: AgentSpec, cell: str) -> AgentSpec:
        return stable.spec(agent, suite.cell(cell))

    bandit, predicting = stable.specs
    assert playing(bandit, "cold-start/static-0.95").checkpoint is None
    frozen = playing(bandit, "new-frozen/static-0.95")
    assert frozen.checkpoint is not None
    assert not frozen.explore
    other = playing(bandit, "new-frozen/continuous-0.8")
    assert frozen.checkpoint != other.checkpoint
    again = playing(bandit, "recurring-learning/static-1.1")
    assert (again.checkpoint, again.explore) == (frozen.checkpoint, True)
    wrong = playing(bandit, "wrong-predictor/static-0.95")
    assert wrong.checkpoint not in (None, frozen.checkpoint)
    assert playing(predicting, "wrong-predictor/static-0.95").settings["predictor"]
    assert not playing(predicting, "new-frozen/static-0.95").settings


def test_a_predictor_of_some_families_is_fitted_on_them(tmp_path: Any) -> None:
    from agents.prediction import Predictor

    suite = load_suite().select(["wrong-predictor/static-0.95"])
    stable = Stable(suite, [AgentSpec(Predicting)], tmp_path)
    made = {path.name.split("-")[0]: (p, path) for p, path in stable.preparations()}
    preparation, path = made["predictor"]
    preparation.play(path)
    assert preparation.is_done(path)
    data = load_dataset(suite.dataset)
    families = np.array(data.families)[data.rows("train")]
    assert Predictor.load(path).rows == np.isin(families, preparation.families).sum()


def test_who_plays_by_default() -> None:
    suite = load_suite()
    labels = [spec.label for spec in default_entrants(suite)]
    assert {"fcfs", "sjf-oracle", "c2ucb", *BAD} <= set(labels)
    assert set(labels) <= {*AGENT_NAMES, *BAD}
    alone = with_yardsticks(suite, [AgentSpec("c2ucb")])
    assert {"fcfs", "join-shortest-queue", "c2ucb"} < {spec.label for spec in alone}


def test_unknown_names_are_told() -> None:
    with pytest.raises(ValueError, match="did you mean 'drift/static-mix'"):
        load_suite().select(["drift/static-mx"])
    with pytest.raises(ValueError, match="must be one of v1"):
        load_suite(9)
