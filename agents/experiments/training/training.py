"""A training: who learns where and from how much, kept in a file that is complete at any time."""

from __future__ import annotations

import math
import platform
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from agents.experiments.design.scenario import Scenario
from agents.experiments.identity.fingerprint import identify
from agents.experiments.identity.versions import versions
from agents.experiments.training.curve import Curve
from agents.experiments.training.learners import BanditLearner, Learner
from agents.experiments.training.model_file import read_model_file
from agents.experiments.training.validation import UNIT, Validation, scores
from agents.registry import agent_class
from agents.schedulers.policy_file import POLICIES
from edgecloud_gym.config import SystemConfig
from edgecloud_gym.processors import available_processors

_BESIDE: Final = (
    "settings",
    "done",
    "algorithm",
    "allow_stop",
    "score",
    "made",
)  # not what defines a training


@dataclass(frozen=True)
class Training:
    """A training.

    Attributes:
        name: Of the agent.
        options: Its settings.
        scenario: Where it learns.
        seed: Seeds everything.
        prompts: The dataset and split that the prompts are of, which a replayed trace orders anew.
        amount: How much it learns from, at least: steps or episodes.
        loads: Several loads that it learns at side by side, in place of the scenario's own.
        validation: What shows how good it is; None to keep what was learnt last.
        every: By how much it learns between two looks at that, at least.
        patience: How many looks may pass without improvement before it stops; None for any number.
        tensorboard: A folder for TensorBoard.
        elsewhere: Further scenarios that it learns in, side by side with the first.
    """

    name: str
    options: Mapping[str, Any]
    scenario: Scenario
    seed: int
    prompts: Mapping[str, Any]
    amount: int
    loads: tuple[float, ...] = ()
    validation: Validation | None = None
    every: int = 1
    patience: int | None = None
    tensorboard: str | None = None
    elsewhere: tuple[Scenario, ...] = ()

    @property
    def title(self) -> str:
        """What messages call it."""
        return f"{self.name}, seed {self.seed}"

    @property
    def scenarios(self) -> tuple[Scenario, ...]:
        """Where it learns: at each of its loads, and elsewhere."""
        return (*at_loads(self.scenario, self.loads), *self.elsewhere)

    def record(self) -> dict[str, Any]:
        """Returns what defines it, as JSON values, all but how long it is."""
        own = agent_class(self.name).work_conserving
        filled = SystemConfig.work_conserving if own is None else own
        settings = {"work_conserving": filled, **self.scenario.settings, **self.prompts}
        if self.loads:
            settings["load"] = list(self.loads)
        if self.elsewhere:
            settings["elsewhere"] = [{"env": s.env_id, **s.settings} for s in self.elsewhere]
        return {
            "agent": self.name,
            "options": identify(self.options),
            "env": self.scenario.env_id,
            "settings": identify(settings),
            "seed": self.seed,
        }

    def curve_in_words(self, path: Path) -> list[str]:
        """Returns what validation said at last, in words; nothing without one."""
        if self.validation is None:
            return []
        labels = [scenario.label for scenario in self.validation.scenarios]
        curve = Curve.read(path.with_suffix(".csv"), self.name, labels)
        others = ", ".join(f"{n} {value:.3f}" for n, value in scores(curve.others).items())
        return [
            f"Mean JCT on prompts kept aside, as a share of {UNIT}'s: {curve.best:.3f} at its "
            f"best; beside it {others}. Curve in {path.with_suffix('.csv')} and .png"
        ]

    def learner(self, path: Path) -> Learner:
        """Returns the agent in training, with what a file holds of it.

        Raises:
            ValueError: If the file is there and holds something else.
        """
        return self.learner_from(self.resumable(path))

    def learner_from(self, resume: tuple[Path, int] | None) -> Learner:
        """Returns the agent in training, as a file has it that holds so much of it."""
        if self.name in POLICIES:
            from agents.experiments.training.network_learner import NetworkLearner

            options = dict(self.options)
            if self.tensorboard is not None:
                options["tensorboard_log"] = self.tensorboard
            return NetworkLearner(self.name, options, self.scenarios, self.seed, resume)
        return BanditLearner(self.name, self.options, self.scenario, self.seed, resume)

    def last(self, path: Path) -> Path:
        """Returns the file of what was learnt last: beside the best, if that is kept apart."""
        if self.validation is None and self.name not in POLICIES:
            return path
        return path.with_name(f"{path.stem}-last{path.suffix}")

    def resumable(self, path: Path) -> tuple[Path, int] | None:
        """Returns what a file holds of this training, if it is there, and how much that is.

        Raises:
            ValueError: If the file is there and holds something else.
        """
        last = self.last(path)
        if last.exists():
            return last, int(self._same(last)["done"])
        if path.exists():  # the best, which the first look would replace
            self._same(path)
        return None

    def _same(self, path: Path) -> Mapping[str, Any]:
        """Returns what a file of this very training says of it.

        Raises:
            ValueError: If it holds something else.
        """
        kept = read_model_file(path).training or {}
        found = _flat(kept)
        wanted = _flat(self.record())
        found.setdefault("work_conserving", wanted["work_conserving"])  # of before it was kept
        for name in sorted(wanted.keys() | found.keys()):
            if found.get(name) != wanted.get(name):
                raise ValueError(
                    f"--output {path}: is there already, and was trained with {name} "
                    f"{found.get(name)!r}, not {wanted.get(name)!r}; name another file or remove it"
                )
        return kept

    def require_same_but_seed(self, path: Path) -> None:
        """Raises ``ValueError`` if a file is there and holds something else than this training."""
        if path.exists():
            seed = (read_model_file(path).training or {}).get("seed", self.seed)
            replace(self, seed=seed)._same(path)

    def play(self, path: Path) -> None:
        """Learns all that is to be learnt, and saves it whenever it can be saved."""
        for _ in self.advancing(self.learner(path), path):
            pass

    def advancing(
        self, learner: Learner, path: Path, record: Mapping[str, Any] | None = None
    ) -> Iterator[float]:
        """Has a learner learn enough, and keeps what it has learnt.

        Args:
            learner: The agent.
            path: The file of the model: of the best, where there is a validation.
            record: What the file says of the training; `record` by default.

        Yields:
            The return per episode, whenever the learner was saved.
        """
        keeper = _Keeper(self, learner, path, self.record() if record is None else record)
        learner.total = self.amount
        keeper.begin()
        while learner.done < self.amount and not keeper.stops:
            returned = learner.advance()
            keeper.keep()
            yield returned


class _Keeper:
    """Keeps what is learnt in a training: the last, and the best apart from it."""

    def __init__(
        self, training: Training, learner: Learner, path: Path, record: Mapping[str, Any]
    ) -> None:
        self._training = training
        self._learner = learner
        self._path = path
        self._last = training.last(path)
        self._record = record
        self._started = time.perf_counter()
        self._before = 0.0
        self._curve: Curve | None = None
        if training.validation is not None:
            labels = [scenario.label for scenario in training.validation.scenarios]
            self._curve = Curve.read(path.with_suffix(".csv"), training.name, labels)
            seconds = [row["seconds"] for row in self._curve.rows]
            self._before = max(seconds, default=0.0)

    @property
    def stops(self) -> bool:
        """Whether nothing has become better for so long that it may stop."""
        patience = self._training.patience
        return (
            self._curve is not None
            and patience is not None
            and (self._curve.since_best >= patience)
        )

    def begin(self) -> None:
        """Looks at who plays beside it, and at where it starts from."""
        curve = self._curve
        if curve is None or curve.rows:
            return
        assert self._training.validation is not None
        for name, means in self._training.validation.of_others().items():
            curve.add(name, 0, 0.0, means)
        self._look()

    def keep(self) -> None:
        """Saves what was learnt last; looks at how good it is, if it is time."""
        learner = self._learner
        learner.save(self._last, self._record)
        if self._curve is None:
            if self._last != self._path:
                learner.save(self._path, self._record, going_on=False)
            return
        latest = self._curve.moments[-1][0]
        if learner.done - latest >= self._training.every or learner.done >= self._training.amount:
            self._look()

    def _look(self) -> None:
        training, learner, curve = self._training, self._learner, self._curve
        assert training.validation is not None
        assert curve is not None
        best = curve.best
        seconds = self._before + time.perf_counter() - self._started
        means = training.validation.of(learner)
        found = curve.add(training.name, learner.done, seconds, means)
        if found < best:
            facts = {**self._record, "score": found, "made": made(seconds)}
            learner.save(self._path, facts, going_on=False)
        curve.write(self._path.with_suffix(".csv"))
        if training.tensorboard is not None:
            learner.log("validation/score", found, training.tensorboard)


def made(seconds: float) -> dict[str, Any]:
    """Returns how a model was made, as JSON values.

    Args:
        seconds: How long it took so far.
    """
    return {
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "seconds": round(seconds, 1),
        "machine": f"{platform.platform()}, {available_processors()} processors",
        "versions": dict(versions()),
    }


def at_loads(scenario: Scenario, loads: Sequence[float]) -> tuple[Scenario, ...]:
    """Returns a scenario at several loads, or as it is if there are none."""
    if not loads:
        return (scenario,)
    return tuple(
        replace(
            scenario,
            settings={**scenario.settings, "load": load},
            label=f"{scenario.label} load {load:g}",
        )
        for load in loads
    )


def whole(learner: Learner, amount: int) -> int:
    """Returns from how much a learner learns that is to learn from so much at least."""
    return learner.done + math.ceil((amount - learner.done) / learner.stride) * learner.stride


def _flat(training: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a training with the environment's settings beside the rest."""
    flat = {**training, **training.get("settings", {})}
    return {name: value for name, value in flat.items() if name not in _BESIDE}
