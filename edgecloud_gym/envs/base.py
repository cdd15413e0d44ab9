"""The base of the environments: one lane of the simulator behind Gymnasium's interface."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Final

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.error import ResetNeeded
from numpy.typing import NDArray

from edgecloud_gym.config import Priority, SystemConfig
from edgecloud_gym.dataset import RequestDataset
from edgecloud_gym.envs.inputs import check_reset_options, checked_actions, settings_in_words
from edgecloud_gym.envs.spaces import action_space, observation_space
from edgecloud_gym.results import records
from edgecloud_gym.results.snapshot import snapshot
from edgecloud_gym.simulator.compiled.decision import Decision
from edgecloud_gym.simulator.compiled.events import (
    ADVANCE,
    APPLY,
    HOLD,
    OBSERVE,
    SETTLE,
    START,
    STEP,
    UNSEEN_STEP,
)
from edgecloud_gym.simulator.output import Output
from edgecloud_gym.simulator.rules import Rule, RulePlayer
from edgecloud_gym.simulator.simulator import Simulator
from edgecloud_gym.simulator.state import OUTCOME, OUTCOME_FIELDS, info_fields
from edgecloud_gym.wording import shown

if TYPE_CHECKING:
    import pandas as pd

    from edgecloud_gym.render import Renderer

Observation = dict[str, NDArray[np.generic]]

RENDER_MODES: Final = ("human", "rgb_array", "ansi")
RENDER_FPS: Final = 15


class EdgeCloudEnv(gym.Env[Observation, NDArray[np.int64]]):
    """Base of the environments: one lane of the simulator behind Gymnasium's interface."""

    metadata: ClassVar[dict[str, Any]] = {  # type: ignore[misc]
        "render_modes": list(RENDER_MODES),
        "render_fps": RENDER_FPS,
    }
    defaults: ClassVar[Mapping[str, Any]] = {}

    def __init__(self, render_mode: str | None = None, **settings: Any) -> None:
        """Builds the system.

        Args:
            render_mode: ``None``, ``"human"``, ``"rgb_array"`` or ``"ansi"``.
            **settings: See `SystemConfig` and the class's Arguments.

        Raises:
            TypeError: If a setting is unknown or of the wrong type.
            ValueError: If a setting is out of range, or settings contradict each other.
        """
        if render_mode is not None and render_mode not in RENDER_MODES:
            allowed = ", ".join(map(repr, RENDER_MODES))
            raise ValueError(f"render_mode={shown(render_mode)}: must be None or one of {allowed}")
        self.render_mode = render_mode
        self.config = SystemConfig.from_settings(settings, self.defaults)
        self._settings = settings
        self._simulator = self._make_simulator()
        self._info_fields = list(info_fields(self.config))
        self._action_shape = (self.config.candidate_pool_size,)
        self.action_space = action_space(self.config.candidate_pool_size, len(self.config.nodes))
        space: spaces.Space[Any] = observation_space(self._simulator.layout)
        self.observation_space = space
        self._bind_step()
        self._running = False
        self._renderer: Renderer | None = None

    def __getstate__(self) -> dict[str, Any]:
        # A copy (tree search copies environments) reads its own lane and draws on its own canvas.
        return {**self.__dict__, "_renderer": None, "_step": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._bind_step()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({settings_in_words(self._settings)})"

    def _make_simulator(self) -> Simulator:
        return Simulator(self.config, lanes=1)

    def _bind_step(self) -> None:
        """Looks at what a step yields."""
        self._step = self._simulator.state.steps[0]

    @property
    def dataset(self) -> RequestDataset:
        """The requests that arrive."""
        return self._simulator.dataset

    @property
    def simulator(self) -> Simulator:
        """The simulator, lane 0 of which is this environment."""
        return self._simulator

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Draws a new request stream and moves to the first decision epoch.

        Args:
            seed: Seeds ``np_random``; ``None`` goes on with the present one.
            options: There are none: ``None`` or an empty mapping.

        Returns:
            The observation and ``info``.

        Raises:
            ValueError: If ``options`` names one.
        """
        check_reset_options(options, ())
        super().reset(seed=seed, options=options)
        self._simulator.begin_episode(0, self.np_random)
        if self._renderer is not None:
            self._renderer.reset()
        self._running = True
        output = self._run(START)
        if self.render_mode == "human":
            self.render()
        return self._observation(output), self._info(output, self._step.item())

    def step(
        self, action: NDArray[np.int64]
    ) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Applies an action and moves to the next decision epoch.

        Args:
            action: 0 (wait) or 1 + node per candidate, so that 1 is the edge and 2 the cloud of the
                two; integer (M,).

        Returns:
            Observation, reward, terminated, truncated and ``info``.

        Raises:
            gymnasium.error.ResetNeeded: If the episode has ended or not begun.
            TypeError: If the action does not hold integers.
            ValueError: If its shape or a value is wrong.
        """
        if not self._running:
            raise ResetNeeded("the episode has ended or not begun: call reset() before step()")
        actions = checked_actions(action, self._action_shape, self._simulator.node_names)
        output = self._run(STEP, actions[np.newaxis])
        values = self._step.item()
        reward, terminated, truncated = values[OUTCOME]
        self._running = not (terminated or truncated)
        if self.render_mode == "human":
            self.render()
        info = self._info(output, values)
        return self._observation(output), reward, terminated, truncated, info

    def play(self, rule: Rule, decision: Decision) -> Iterator[float]:
        """Plays the episode to its end by a compiled rule, without a step of Python.

        Decisions, times and rewards are those of stepping; afterwards everything can be read that
        can be read after the last step.

        Args:
            rule: Decides.
            decision: What it is handed; see `edgecloud_gym.simulator.rules.make_decision`.

        Returns:
            Yields the reward of each step. The system may be some steps ahead.

        Raises:
            gymnasium.error.ResetNeeded: If the episode has ended or not begun.
        """
        return self.played(RulePlayer(self._simulator, rule, decision).play(decision))

    def played(self, rewards: Iterator[float]) -> Iterator[float]:
        """Lets somebody else step the simulator to the end of the episode.

        Args:
            rewards: Plays; yields the reward of each step.

        Yields:
            The rewards.

        Raises:
            gymnasium.error.ResetNeeded: If the episode has ended or not begun.
        """
        if not self._running:
            raise ResetNeeded("the episode has ended or not begun: call reset() before playing")
        yield from rewards
        self._running = False
        self._run(OBSERVE)

    def play_unseen(self, choose: Callable[[], NDArray[np.int64]]) -> Iterator[float]:
        """Plays the episode to its end without showing anything, for who reads the simulator.

        Decisions, times and rewards are those of stepping; afterwards everything can be read that
        can be read after the last step.

        Args:
            choose: Returns the action of the present decision epoch, int64 (1, M), values from 0
                to the number of nodes: they are not checked.

        Yields:
            The reward of each step, when it has been taken.

        Raises:
            gymnasium.error.ResetNeeded: If the episode has ended or not begun.
        """
        if not self._running:
            raise ResetNeeded("the episode has ended or not begun: call reset() before playing")
        simulator = self._simulator
        output = simulator.output()
        outcome = [simulator.state.steps[name] for name in OUTCOME_FIELDS]
        while self._running:
            if simulator.has_scorer:
                simulator.run(APPLY | ADVANCE, output, choose())
                simulator.score_arrivals(0)
                simulator.run(SETTLE, output)
            else:
                simulator.run(UNSEEN_STEP, output, choose())
            reward, terminated, truncated = (part.item() for part in outcome)
            self._running = not (terminated or truncated)
            yield reward
        self._run(OBSERVE)

    def hold(self) -> tuple[Observation, dict[str, Any]]:
        """Takes a step in which nothing happens and no time passes; its reward would be 0.

        A wrapper that gathers one action over several steps returns this for those in between.

        Returns:
            The observation and ``info``.

        Raises:
            gymnasium.error.ResetNeeded: If the episode has ended or not begun.
        """
        if not self._running:
            raise ResetNeeded("the episode has ended or not begun: call reset() before hold()")
        output = self._run(HOLD | OBSERVE)
        return self._observation(output), self._info(output, self._step.item())

    def _run(self, stage: int, actions: NDArray[np.int64] | None = None) -> Output:
        simulator = self._simulator
        output = simulator.output()
        if simulator.has_scorer and stage & ADVANCE:
            # Arrivals must be scored before they can be ranked and shown.
            simulator.run(stage & (APPLY | ADVANCE), output, actions)
            simulator.score_arrivals(0)
            simulator.run(OBSERVE, output)
        else:
            simulator.run(stage, output, actions)
        return output

    def _observation(self, output: Output) -> Observation:
        return self._simulator.layout.one(output.floats, output.ids)

    def _info(self, output: Output, values: tuple[Any, ...]) -> dict[str, Any]:
        info = dict(zip(self._info_fields, values, strict=False))  # the first of the values
        info["action_mask"] = output.masks[0]
        if not self._running:
            info["summary"] = self.summary()
        return info

    def action_masks(self) -> NDArray[np.bool_]:
        """Returns which choices are possible now, bool (M, 1 + nodes): wait, or go to a node."""
        return np.asarray(self._simulator.action_masks()[0])

    def set_priority(self, priority: Priority) -> None:
        """Orders the waiting queue by ``priority`` from the next `reset` on.

        Args:
            priority: As the setting of this name.
        """
        self._simulator.set_priority(priority)
        self._running = False

    def reprioritize(self) -> tuple[Observation, dict[str, Any]]:
        """Scores the waiting requests anew and ranks them again.

        A ``priority`` callable is given each distinct prompt once, however often it waits. Of
        scores per dataset row, those count that `Simulator.set_scores` was given last.

        Returns:
            Observation and ``info`` with the candidates in their new order: they replace those
            that `step` returned.

        Raises:
            RuntimeError: If the queue is in order of arrival.
        """
        if not self._simulator.is_scored:
            raise RuntimeError("reprioritize() needs a priority: the queue is in order of arrival")
        self._simulator.rank_anew(0)
        output = self._run(OBSERVE)
        return self._observation(output), self._info(output, self._step.item())

    def candidates(self) -> NDArray[np.void]:
        """Returns who the candidates are, in the observation's order; see `records.candidates`."""
        return records.candidates(self._simulator, 0)

    def room(self) -> tuple[int, ...]:
        """Returns how many requests each node takes now, in their order.

        A busy batch slot takes none, a free one its full capacity.
        """
        return tuple(self._simulator.room[0].tolist())

    def completions(self) -> NDArray[np.void]:
        """Returns what finished since the last step; see `records.completions`."""
        return records.completions(self._simulator, 0)

    def request_log(self) -> pd.DataFrame:
        """Returns one row per request that has arrived; see `records.request_log`."""
        return records.request_log(self._simulator, 0)

    def telemetry(
        self, interval: float | None = None, *, per_dispatch: bool = False
    ) -> pd.DataFrame:
        """Returns the system's state over time; see `records.telemetry`.

        Args:
            interval: Time between rows (s); ``telemetry_interval`` by default.
            per_dispatch: A row per moment of dispatch instead, as in the paper's traces.
        """
        return records.telemetry(self._simulator, 0, interval, per_dispatch)

    def summary(self) -> dict[str, float]:
        """Returns the episode's metrics so far; see `edgecloud_gym.results.summary.summarize`."""
        from edgecloud_gym.results.summary import summarize

        return summarize(self._simulator, 0)

    def render(self) -> Any:
        """Shows the present state in the environment's render mode.

        Returns:
            A string for ``"ansi"``, a uint8 array (height, width, 3) for ``"rgb_array"``,
            ``None`` otherwise.
        """
        if self.render_mode is None:
            gym.logger.warn(
                "render() does nothing: no render_mode was given; for example "
                'gymnasium.make(..., render_mode="rgb_array")'
            )
            return None
        view = snapshot(self._simulator, 0)
        if self.render_mode == "ansi":
            from edgecloud_gym.render import render_text

            return render_text(view)
        if self._renderer is None:
            from edgecloud_gym.render import Renderer

            self._renderer = Renderer(self.render_mode, RENDER_FPS)
        return self._renderer.draw(view)

    def close(self) -> None:
        """Closes the window, if there is one."""
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None
