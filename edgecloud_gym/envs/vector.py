"""The native vector environments: many lanes of one simulator, stepped by compiled code."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from gymnasium.error import ResetNeeded
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from edgecloud_gym.checks import check_integer
from edgecloud_gym.config import SystemConfig
from edgecloud_gym.dataset import RequestDataset
from edgecloud_gym.envs.base import RENDER_FPS, EdgeCloudEnv, Observation
from edgecloud_gym.envs.in_use import InUse
from edgecloud_gym.envs.inputs import (
    check_reset_options,
    checked_actions,
    checked_mask,
    seed_list,
    settings_in_words,
)
from edgecloud_gym.envs.spaces import action_space, observation_space
from edgecloud_gym.processors import available_processors
from edgecloud_gym.results import records
from edgecloud_gym.results.snapshot import snapshot
from edgecloud_gym.simulator.compiled.events import HOLD, OBSERVE, START, STEP
from edgecloud_gym.simulator.footprint import naming_what_is_large, too_large
from edgecloud_gym.simulator.output import Output
from edgecloud_gym.simulator.simulator import Simulator
from edgecloud_gym.simulator.state import OUTCOME_FIELDS, info_fields, told
from edgecloud_gym.simulator.team import Team
from edgecloud_gym.wording import listed, shown

if TYPE_CHECKING:
    import pandas as pd

LANES_PER_THREAD = 64  # fewer are done before another thread has woken

Arrays = NDArray[Any]


class EdgeCloudVectorEnv(VectorEnv[Observation, NDArray[np.int64], Arrays]):
    """Base of the vector environments.

    Lane i behaves as the single environment with the same seed: observations, rewards and infos
    are those of `gymnasium.vector.SyncVectorEnv` over single environments.

    One thread may use an environment at a time: `reset`, `step` and `close` raise ``RuntimeError``
    while another thread is in one of them.
    """

    single_env: ClassVar[type[EdgeCloudEnv]]
    # Gymnasium before 1.3 closes what its constructor has refused, too.
    _team: Team | None = None
    _renderers: Sequence[Any] = ()

    def __init__(
        self,
        num_envs: int = 1,
        render_mode: str | None = None,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        num_threads: int | None = None,
        max_episode_steps: int | None = None,
        **settings: Any,
    ) -> None:
        """Builds ``num_envs`` systems with the same settings.

        Args:
            num_envs: Number of lanes, at least 1.
            render_mode: ``None``, ``"rgb_array"`` or ``"ansi"``.
            autoreset_mode: When a lane whose episode ended is reset.
            num_threads: Threads that step the lanes; by default one per available core. It
                changes nothing but the speed.
            max_episode_steps: Steps after which a lane's episode is truncated, if it has not ended
                by itself; as the argument of `gymnasium.make`.
            **settings: As for the single environment, but that ``priority`` must not be a
                callable.

        Raises:
            MemoryError: If so many lanes do not fit in memory.
            TypeError: If a setting is unknown or of the wrong type.
            ValueError: If a setting is out of range, or settings contradict each other.
        """
        self._in_use = InUse()
        num_envs = check_integer("num_envs", num_envs, least=1)
        if max_episode_steps is not None:
            max_episode_steps = check_integer("max_episode_steps", max_episode_steps, least=1)
        if render_mode not in (None, "rgb_array", "ansi"):
            raise ValueError(
                f"render_mode={shown(render_mode)}: must be None, 'rgb_array' or 'ansi'"
            )
        self.config = SystemConfig.from_settings(settings, self.single_env.defaults)
        if callable(self.config.priority):
            raise ValueError(
                f"priority={shown(self.config.priority)}: the vector environment takes None or an "
                "array"
            )
        self.num_envs = num_envs
        self.render_mode = render_mode
        self.autoreset_mode = AutoresetMode(autoreset_mode)
        self.metadata = {**self.single_env.metadata, "autoreset_mode": self.autoreset_mode}
        self.num_threads = _thread_count(num_threads, num_envs)
        self._simulator = Simulator(self.config, lanes=num_envs)
        self._info_fields = info_fields(self.config)
        self.single_observation_space = observation_space(self._simulator.layout)
        with naming_what_is_large(num_envs, self._simulator.lane_bytes):
            self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.single_action_space = action_space(
            self.config.candidate_pool_size, len(self.config.nodes)
        )
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._action_shape = (num_envs, self.config.candidate_pool_size)
        self._rngs: list[np.random.Generator | None] = [None] * num_envs
        self._seeds: list[int] = [-1] * num_envs
        self._ready = False  # whether every lane has been reset
        self._ended = np.zeros(num_envs, np.bool_)
        self.max_episode_steps = max_episode_steps
        self._settings = settings
        self._lengths = np.zeros(num_envs, np.int64)  # steps of the present episodes
        self._team_owner = 0  # the process whose threads they are
        self.final_room = self._simulator.room

    def __getstate__(self) -> dict[str, Any]:
        # A copy starts threads and draws on canvases of its own.
        return {**self.__dict__, "_team": None, "_renderers": ()}

    def __repr__(self) -> str:
        settings = settings_in_words({"num_envs": self.num_envs, **self._settings})
        return f"{type(self).__name__}({settings})"

    @property
    def dataset(self) -> RequestDataset:
        """The requests that arrive."""
        return self._simulator.dataset

    @property
    def simulator(self) -> Simulator:
        """The simulator whose lanes are this environment's."""
        return self._simulator

    @property
    def np_random_seed(self) -> tuple[int, ...]:  # type: ignore[override]
        """The seed of each lane, -1 where it is not known."""
        return tuple(self._seeds)

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> tuple[Observation, dict[str, Any]]:
        """Resets all lanes, or those that ``options["reset_mask"]`` marks.

        Args:
            seed: Lane i gets ``seed + i``, or ``seed[i]`` of a sequence; ``None`` goes on with
                the lane's generator.
            options: ``{"reset_mask": bool array (num_envs,)}`` resets only some lanes.

        Returns:
            Observations of all lanes and infos of those that were reset.

        Raises:
            RuntimeError: If another thread uses the environment meanwhile.
            TypeError: If the mask is not a boolean array.
            ValueError: If the number of seeds or the mask's shape is wrong, or it marks no lane.
        """
        with self._in_use, naming_what_is_large(self.num_envs, self._simulator.lane_bytes):
            return self._reset(seed, options)

    def _reset(
        self, seed: int | Sequence[int | None] | None, options: Mapping[str, Any] | None
    ) -> tuple[Observation, dict[str, Any]]:
        which = self._reset_mask(options)
        for lane, value in enumerate(seed_list(seed, self.num_envs)):
            if which[lane] and (value is not None or self._rngs[lane] is None):
                self._rngs[lane], self._seeds[lane] = seeding.np_random(value)
        self._ready = None not in self._rngs
        output = self._simulator.output(told=True)
        self._restart(which, output)
        if not which.all():
            self._simulator.run(OBSERVE, output, active=~which)
        return self._observation(output), self._infos(output, which)

    def step(
        self, actions: NDArray[np.int64]
    ) -> tuple[Observation, Arrays, Arrays, Arrays, dict[str, Any]]:
        """Steps every lane.

        Args:
            actions: 0 (wait) or 1 + node per lane and candidate, integer (num_envs, M).

        Returns:
            Observations, rewards (float64), terminations, truncations (bool) and infos, each
            with a leading axis of lanes.

        Raises:
            gymnasium.error.ResetNeeded: Before the first reset, and with autoreset disabled if a
                lane has ended and was not reset.
            RuntimeError: If another thread uses the environment meanwhile.
            TypeError: If the actions do not hold integers.
            ValueError: If their shape or a value is wrong.
        """
        return self.step_active(actions, np.ones(self.num_envs, np.bool_))

    def step_active(
        self, actions: NDArray[np.int64], active: NDArray[np.bool_]
    ) -> tuple[Observation, Arrays, Arrays, Arrays, dict[str, Any]]:
        """Steps some lanes, while for the others no time passes and the reward is 0.

        Args:
            actions: As for `step`.
            active: Which lanes step (num_envs,).

        Returns:
            As `step`.

        Raises:
            gymnasium.error.ResetNeeded: As `step`.
            TypeError: As `step`, and if ``active`` is not a boolean array.
            ValueError: As `step`, and if the shape of ``active`` is wrong.
            RuntimeError: As `step`.
        """
        with self._in_use:
            try:
                return self._step_active(actions, active)
            except MemoryError as error:  # without a generator at every step
                raise too_large(self.num_envs, self._simulator.lane_bytes) from error

    def _step_active(
        self, actions: NDArray[np.int64], active: NDArray[np.bool_]
    ) -> tuple[Observation, Arrays, Arrays, Arrays, dict[str, Any]]:
        checked = checked_actions(actions, self._action_shape, self._simulator.node_names)
        active = checked_mask("active", active, self.num_envs)
        if not self._ready:
            raise ResetNeeded("call reset() before step()")
        restarting = self._ended & active
        some_restart = np.count_nonzero(restarting) > 0  # a quarter of what any() takes
        if self.autoreset_mode is not AutoresetMode.NEXT_STEP and some_restart:
            lanes = listed(np.flatnonzero(restarting), most=10)
            raise ResetNeeded(f"lanes {lanes} have ended: reset them before step()")
        output = self._simulator.output(told=True)
        stepping = active & ~restarting
        self._run(STEP, output, checked, stepping)
        if np.count_nonzero(active) < self.num_envs:
            self._run(HOLD | OBSERVE, output, checked, ~active)
        if some_restart:
            self._restart(restarting, output)
        rewards, terminations, truncations = told(
            output.told, OUTCOME_FIELDS, self.num_envs
        ).values()
        self._lengths += stepping
        if self.max_episode_steps is not None:
            truncations |= stepping & (self._lengths >= self.max_episode_steps)
        ending = terminations | truncations
        self._ended = (self._ended & ~active) | ending
        infos: dict[str, Any] = {}
        if self.autoreset_mode is not AutoresetMode.SAME_STEP:
            for lane in np.flatnonzero(ending).tolist():
                infos = self._add_info(infos, {"summary": self.summary(lane)}, lane)
        elif np.count_nonzero(self._ended):
            infos = self._final_infos(output)
            output.told = output.told.copy()  # the reward stays that of the episode that ended
            self._restart(self._ended.copy(), output)
        infos |= self._infos(output, np.ones(self.num_envs, np.bool_))
        return self._observation(output), rewards, terminations, truncations, infos

    def action_masks(self) -> NDArray[np.bool_]:
        """Returns which choices are possible now, bool (num_envs, M, 1 + nodes)."""
        return self._simulator.action_masks()

    def completions(self, lane: int) -> NDArray[np.void]:
        """Returns what finished in a lane since its last step; see `records.completions`.

        In autoreset mode ``SAME_STEP`` the last completions of an episode are gone with it;
        ``NEXT_STEP`` and ``DISABLED`` keep a lane's records until it is reset.
        """
        return records.completions(self._simulator, lane)

    def request_log(self, lane: int) -> pd.DataFrame:
        """Returns a lane's requests; see `records.request_log`."""
        return records.request_log(self._simulator, lane)

    def telemetry(
        self, lane: int, interval: float | None = None, *, per_dispatch: bool = False
    ) -> pd.DataFrame:
        """Returns a lane's state over time; see `records.telemetry`."""
        return records.telemetry(self._simulator, lane, interval, per_dispatch)

    def summary(self, lane: int) -> dict[str, float]:
        """Returns a lane's metrics; see `edgecloud_gym.results.summary.summarize`."""
        from edgecloud_gym.results.summary import summarize

        return summarize(self._simulator, lane)

    def render(self) -> tuple[Any, ...] | None:
        """Returns a frame per lane, in the environment's render mode."""
        if self.render_mode is None:
            return None
        from edgecloud_gym.render import Renderer, render_text

        views = [snapshot(self._simulator, lane) for lane in range(self.num_envs)]
        if self.render_mode == "ansi":
            return tuple(render_text(view) for view in views)
        if not self._renderers:
            self._renderers = [Renderer("rgb_array", RENDER_FPS) for _ in views]
        return tuple(r.draw(view) for r, view in zip(self._renderers, views, strict=True))

    def close_extras(self) -> None:
        """Stops the threads.

        Raises:
            RuntimeError: If another thread uses the environment meanwhile: it would wait for locks
                that are gone.
        """
        with self._in_use:
            if self._team is not None:
                self._team.close()
                self._team = None
            for renderer in self._renderers:
                renderer.close()
            self._renderers = ()

    def _reset_mask(self, options: Mapping[str, Any] | None) -> NDArray[np.bool_]:
        check_reset_options(options, ("reset_mask",))
        mask = (options or {}).get("reset_mask")
        if mask is None:
            return np.ones(self.num_envs, np.bool_)
        checked = checked_mask("options['reset_mask']", mask, self.num_envs)
        if not checked.any():
            raise ValueError(f"options['reset_mask']={shown(mask)}: must mark at least one lane")
        return checked

    def _restart(self, which: NDArray[np.bool_], output: Output) -> None:
        for lane in np.flatnonzero(which):
            rng = self._rngs[lane]
            assert rng is not None  # reset() gave each lane one
            self._simulator.begin_episode(int(lane), rng)
        self._run(START, output, None, which)
        self._ended = self._ended & ~which
        self._lengths[which] = 0

    def _run(
        self,
        stage: int,
        output: Output,
        actions: NDArray[np.int64] | None,
        active: NDArray[np.bool_],
    ) -> None:
        """Runs stages on the active lanes, split between the threads."""
        if self.num_threads == 1:
            self._simulator.run(stage, output, actions, active)
            return
        work = self._simulator.work(output, actions, active)
        if self._team is None or self._team_owner != os.getpid():  # threads do not survive a fork
            self._team = Team(self.num_threads, self._simulator.step_address, work)
            self._team_owner = os.getpid()
        self._team.run(stage, self.num_envs, work)

    def _observation(self, output: Output) -> Observation:
        return self._simulator.layout.many(output.floats, output.ids, self.num_envs)

    def _infos(self, output: Output, which: NDArray[np.bool_]) -> dict[str, Any]:
        """Returns infos as `VectorEnv` collects them, for the lanes in ``which``."""
        infos: dict[str, Any] = told(output.told, self._info_fields, self.num_envs)
        infos["action_mask"] = output.masks
        if np.count_nonzero(which) < self.num_envs:
            for values in infos.values():
                values[~which] = 0
        marks = np.empty((len(infos), self.num_envs), np.bool_)
        marks[:] = which
        infos |= zip([f"_{name}" for name in infos], marks, strict=True)
        return infos

    def _final_infos(self, output: Output) -> dict[str, Any]:
        observation = self._simulator.layout.many(output.floats, output.ids, self.num_envs)
        steps = self._simulator.state.steps[list(self._info_fields)]
        self.final_room = self._simulator.room
        infos: dict[str, Any] = {}
        for lane in np.flatnonzero(self._ended):
            info = dict(zip(self._info_fields, steps[lane].item(), strict=True))
            info["action_mask"] = output.masks[lane].copy()
            info["summary"] = self.summary(int(lane))
            final = {name: part[lane].copy() for name, part in observation.items()}
            infos = self._add_info(infos, {"final_obs": final, "final_info": info}, int(lane))
        return infos


def _thread_count(requested: int | None, lanes: int) -> int:
    if requested is None:
        return max(1, min(available_processors(), lanes // LANES_PER_THREAD))
    return min(check_integer("num_threads", requested, least=1), lanes)
