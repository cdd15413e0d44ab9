"""Who plays beside an agent in training knows no more than it does."""

import numpy as np
import pytest

from agents import Scenario
from agents.experiments.training.learners import played
from agents.experiments.training.validation import FIRST_SEED, Validation
from agents.prediction import Predictor
from agents.registry import make_agent
from edgecloud_gym import load_dataset

PLACE = Scenario("EdgeCloud-Static-v0", {"split": "validation", "load": 1.1, "duration": 60.0})


def test_those_beside_have_not_seen_the_prompts_kept_aside() -> None:
    found = Validation((PLACE,), seeds=2, beside=("predicted-sjf",)).of_others()
    assert list(found) == ["fcfs", "predicted-sjf"]
    data = load_dataset("smollm2-135m")
    aside = Predictor.fit(data, data.rows("fit"))
    blind = make_agent("predicted-sjf", predictor=aside)
    seeds = [FIRST_SEED, FIRST_SEED + 1]
    expected = played(blind, PLACE, seeds, explore=False).mean()
    assert found["predicted-sjf"] == [pytest.approx(expected, rel=1e-12)]
    # The bundled predictor has seen them, and is better there than it will be anywhere.
    seen = played(make_agent("predicted-sjf"), PLACE, seeds, explore=False).mean()
    assert seen < 0.95 * expected
    assert np.isfinite(found["fcfs"]).all()
