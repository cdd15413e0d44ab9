"""A live system as agents see it: the environment of a cluster whose time passes by itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgecloud_gym.checks import MOST, check_integer
from edgecloud_gym.envs.base import Observation
from edgecloud_gym.envs.cluster import ClusterEnv
from edgecloud_gym.envs.inputs import checked_actions
from edgecloud_gym.simulator.compiled.events import APPLY, HOLD, OBSERVE
from edgecloud_gym.simulator.live import LiveEvent, LiveRequest, LiveSimulator


class LiveEnv(ClusterEnv):
    """A cluster of real servers, seen and decided for as ``EdgeCloud-Cluster-v0``.

    In place of ``step`` the owner of the servers tells what has happened, asks whether there is
    something to decide, and hands over the action::

        env.reset()
        env.follow(arrivals, events, now)
        while env.is_epoch:
            observation, info = env.observe()
            sent = env.dispatch(agent.act(observation, info))
            if not sent:
                break  # until something happens

    Args:
        waiting: How many requests may wait at a time.
        settings: Of ``EdgeCloud-Cluster-v0``. Those of the workload (``load``, ``duration`` and the
            like) have no effect; ``dataset`` is what the scales of the observation come from.
    """

    def __init__(self, *, waiting: int = 1024, **settings: Any) -> None:
        """Builds the system; see the class.

        Raises:
            TypeError: If a setting is unknown or of the wrong type.
            ValueError: If a setting is out of range, or settings contradict each other.
        """
        self._waiting = check_integer("waiting", waiting, least=1, most=MOST)
        super().__init__(**settings)

    def _make_simulator(self) -> LiveSimulator:
        return LiveSimulator(self.config, self._waiting)

    @property
    def live(self) -> LiveSimulator:
        """The simulator, which is told what happens."""
        simulator = self._simulator
        assert isinstance(simulator, LiveSimulator)
        return simulator

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Begins at time 0, with nobody there.

        Args:
            seed: Seeds ``np_random``, of which nothing is drawn.
            options: There are none.
        """
        del options
        if seed is not None:
            self.np_random = np.random.default_rng(seed)
        self.live.begin()
        self._bind_step()
        self._running = True
        return self.observe()

    def step(
        self, action: NDArray[np.int64]
    ) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Is not offered: time passes by itself.

        Raises:
            RuntimeError: Always.
        """
        del action
        raise RuntimeError("a live system has no step(): use follow(), observe() and dispatch()")

    def follow(
        self,
        arrivals: Sequence[LiveRequest],
        events: Sequence[LiveEvent],
        now: float,
        force: bool = False,
    ) -> list[int]:
        """Takes down what has happened; see `LiveSimulator.follow`."""
        return self.live.follow(arrivals, events, now, force)

    @property
    def is_epoch(self) -> bool:
        """Whether there is something to decide: somebody waits and a node has room."""
        return self.live.is_epoch

    def observe(self, scored: bool = True) -> tuple[Observation, dict[str, Any]]:
        """Returns the observation and ``info`` as they are now.

        Args:
            scored: Whether the ``priority`` callable scores who has arrived; else their score is 0.
        """
        if scored and self.live.has_scorer:
            self.live.score_arrivals(0)
        output = self._run(OBSERVE)
        return self._observation(output), self._info(output, self._step.item())

    def dispatch(self, action: NDArray[np.int64]) -> list[tuple[int, int]]:
        """Applies an action, repaired as in every environment.

        Args:
            action: As of ``step``.

        Returns:
            Who is sent where: keys of requests and nodes, in order.

        Raises:
            TypeError: If the action does not hold integers.
            ValueError: If its shape or a value is wrong.
        """
        actions = self.checked(action)
        self._simulator.run(APPLY, self._simulator.output(), actions[np.newaxis])
        return self.live.dispatched()

    def rehearse(self, action: NDArray[np.int64]) -> list[tuple[int, int]]:
        """Returns what `dispatch` would, and sends nobody.

        Args:
            action: As of ``step``.

        Raises:
            TypeError: If the action does not hold integers.
            ValueError: If its shape or a value is wrong.
        """
        return self.live.rehearsed(self.checked(action)[np.newaxis])

    def checked(self, action: NDArray[np.int64]) -> NDArray[np.int64]:
        """Returns an action of the right type.

        Raises:
            TypeError: If it does not hold integers.
            ValueError: If its shape or a value is wrong.
        """
        return checked_actions(action, self._action_shape, self._simulator.node_names)

    def keys(self) -> list[int]:
        """Returns the keys of the candidates, in the observation's order."""
        return [self.live.key(int(request)) for request in self.candidates()["request"]]

    def look_on(self) -> None:
        """Ends a decision of one who only looks on: what has finished counts as read."""
        self._simulator.run(HOLD, self._simulator.output())
        self.live.dispatched()
