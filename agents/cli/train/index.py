"""``edgecloud train index``: tunes an index policy on train prompts, in about a minute."""

from __future__ import annotations

import platform
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import typer

from agents.cli.shared.belonging import predictor_notes
from agents.cli.shared.playing import say
from agents.experiments.identity.fingerprint import identify
from agents.experiments.identity.versions import versions
from agents.schedulers.index_settings import IndexSettings, load_index
from agents.tuning.cross_entropy import Generation
from agents.tuning.index import LOADS, IndexTuning
from edgecloud_gym.checks import check_integer
from edgecloud_gym.files import check_writable
from edgecloud_gym.wording import shown

INDEX: Final = "index"
SETTINGS: Final = ("generations", "population", "predictor")
# See `IndexTuning`.
_OF_TUNING: Final = frozenset({"arrival_rate", "load", "observe", "work_conserving"})
_INSTEAD: Final = "it is tuned at each --load, by what is predicted, deciding fully itself"
DURATION: Final = 300.0
EPISODES: Final = 20
GENERATIONS: Final = 20
POPULATION: Final = 48


def train_index(
    env_id: str,
    settings: Mapping[str, Any],
    options: Mapping[str, Any],
    *,
    loads: Sequence[float] = LOADS,
    episodes: int = EPISODES,
    seed: int = 0,
    output: Path,
) -> None:
    """Tunes an index policy and writes it after every generation.

    Where the file holds the beginning of the same search, it goes on from there.

    Args:
        env_id: The environment.
        settings: Its settings.
        options: Of `SETTINGS`.
        loads: It is to do well at all of these.
        episodes: Request streams at each.
        seed: Random seed.
        output: Its file, JSON.

    Raises:
        OSError: If the file cannot be written.
        TypeError: If there is no such setting.
        ValueError: If the file holds something else, or a setting is out of range.
    """
    for name in sorted(_OF_TUNING & settings.keys()):
        raise ValueError(f"--set {name} has no effect on an index policy: {_INSTEAD}")
    for name in options:
        if name not in SETTINGS:
            raise TypeError(f"index: no setting {shown(name)}; it has {', '.join(SETTINGS)}")
    count = check_integer("generations", options.get("generations", GENERATIONS), least=1)
    population = check_integer("population", options.get("population", POPULATION), least=8)
    check_writable(output)
    definition = {
        "env": env_id,
        "settings": {name: identify(value) for name, value in settings.items()},
        "loads": list(loads),
        "episodes": episodes,
        "seed": seed,
        "population": population,
        "predictor": str(options.get("predictor", "")),
    }
    before = _before(output, definition)
    curve = [] if before is None else list(before.training["curve"])
    if len(curve) >= count:
        typer.echo(f"{output} is the outcome of {len(curve)} generations already.")
        return
    started = time.perf_counter() - (0.0 if before is None else before.training["seconds"])
    tuning = IndexTuning(env_id, settings, loads, episodes, seed, options.get("predictor"))
    say(predictor_notes(INDEX, options.get("predictor"), tuning.dataset))
    begin = tuning.start if before is None else _state(before.training)
    found: IndexSettings
    for progress in tuning.generations(begin, count, population=population):
        state = progress.state
        curve.append([state.number, state.best, state.elite])
        typer.echo(f"generation {state.number} of {count}: mean JCT {np.exp(state.elite):.3f} s")
        last = state.number == count
        found = tuning.age(progress.settings) if last else progress.settings
        record = {
            "definition": definition,
            "dataset": identify(tuning.dataset),
            "curve": curve,
            "state": {"mean": state.mean.tolist(), "std": state.std.tolist()},
            "seconds": round(time.perf_counter() - started, 1),
            "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
            "versions": dict(versions()),
            "machine": platform.platform(),
        }
        replace(found, training=record).save(output)
    _print(tuning, found, loads)
    typer.echo(f"Saved to {output}")


def _before(output: Path, definition: Mapping[str, Any]) -> IndexSettings | None:
    """Returns what an earlier call has left in the file."""
    if not output.exists():
        return None
    found = load_index(output)
    if found.training.get("definition") != definition:
        raise ValueError(f"{output} was tuned otherwise: give another file, or remove it")
    return found


def _state(training: Mapping[str, Any]) -> Generation:
    state = training["state"]
    return Generation(len(training["curve"]), np.array(state["mean"]), np.array(state["std"]))


def _print(tuning: IndexTuning, found: IndexSettings, loads: Sequence[float]) -> None:
    """Prints what it does on the request streams that it was tuned on."""
    for aged in (False, True):
        name = f"ageing {found.ageing.rate:g}/s, last {found.ageing.last:.0%}" if aged else "index"
        for load, (mean, tail) in zip(loads, tuning.judge(found, aged), strict=True):
            typer.echo(f"{name}, load {load:g}: mean JCT {mean:.2f} s, p95 {tail:.2f} x FCFS's")
