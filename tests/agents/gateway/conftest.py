"""What the tests of the gateway share."""

import pytest

from edgecloud_gym.envs.live import LiveEnv
from tests.agents.gateway.support import engine


@pytest.fixture(scope="session", autouse=True)
def compiled() -> None:
    """Has the simulator compiled before anything is measured or waited for."""
    LiveEnv(nodes=[engine("e")], observe="id")
