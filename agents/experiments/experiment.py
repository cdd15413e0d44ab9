"""Experiments: scenarios x agents x seeds under common random numbers, in parallel, resumable."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from agents.experiments.definition import AgentLike, ScenarioLike, as_record, define_runs
from agents.experiments.folder import claim
from agents.experiments.result import ExperimentError, ExperimentResult, Failure
from agents.experiments.runs import Run, discard_unfinished, is_intact
from agents.experiments.scenario import cached_dataset
from agents.experiments.workers import play_all
from edgecloud_gym.checks import check_integer

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class ExperimentProgress:
    """What a progress callback is told at the start, after each run, and of what is remarkable.

    Attributes:
        done: Runs finished, those of an earlier call included.
        total: Runs in all.
        run: The latest one; ``None`` at the start.
        error: What went wrong in it, if anything did.
        note: Something that the user should know.
    """

    done: int
    total: int
    run: Run | None = None
    error: str | None = None
    note: str | None = None


def run_experiment(
    env_id: ScenarioLike | Sequence[ScenarioLike],
    agents: AgentLike | Sequence[AgentLike],
    seeds: int | Sequence[int],
    env_kwargs: Mapping[str, Any] | None = None,
    output_dir: str | Path | None = "results",
    *,
    workers: int = 1,
    progress: Callable[[ExperimentProgress], None] | None = None,
    plots: bool = False,
    overwrite: bool = False,
) -> ExperimentResult:
    """Plays every agent on the same request streams and writes the results.

    All agents meet the same requests at the same times for the same seed. Whether idle places are
    filled is up to each agent (`Agent.work_conserving`), unless the settings have
    ``work_conserving``; ``run.json`` tells what each played with.

    Every finished run is kept in ``output_dir/runs``, under a digest of all that defines it: a call
    with the same arguments goes on where an earlier one was interrupted, and repeats nothing. The
    code counts as well: this package, the agent's class with its bases, the modules that they
    import, what is behind any setting, and the versions of installed packages. Modules that are
    imported under a computed name and files that an agent opens by itself are not seen. The
    results do not depend on the number of workers.

    A folder belongs to one experiment, which may grow by scenarios, agents and seeds.

    Args:
        env_id: An environment id or `Scenario`, or several.
        agents: A name, subclass of `Agent` or `AgentSpec`, or several.
        seeds: The seeds, or how many: 0, 1, ...
        env_kwargs: Settings of every environment; those of a `Scenario` go before them.
        output_dir: Where the results go; ``None`` keeps them in memory alone.
        workers: Processes; with more than one, a script that calls this needs the usual
            ``if __name__ == "__main__"``, and an agent that ends its process takes no other run
            with it.
        progress: Called in this process at the start and after every run.
        plots: Whether to draw the pictures into the folder as well.
        overwrite: Whether to clear the folder if it holds another experiment.

    Returns:
        The results, which are in the folder as well: ``summary.csv``, ``timeseries.csv``,
        ``requests.csv`` and ``run.json``, all of them or none.

    Raises:
        ExperimentError: If runs failed, after the results of the others have been written.
        OSError: If nothing can be written to the folder; noticed before anything is played.
        TypeError: If an argument or a setting is of a wrong type.
        ValueError: If an agent is unknown, labels or seeds repeat, a setting is out of range, no
            request can ever arrive, or the folder holds another experiment.
    """
    runs = prepare(env_id, agents, seeds, env_kwargs)
    workers = check_integer("workers", workers, least=1)
    if output_dir is None:
        if plots:
            raise ValueError("plots=True: the pictures need an output_dir")
        with TemporaryDirectory() as name:
            result = _in_memory(play(runs, Path(name), workers, progress))
    else:
        output = Path(output_dir)
        claim(output, as_record(runs), overwrite=overwrite)
        result = play(runs, output, workers, progress)
        if plots:
            result.draw()
    if result.failures:
        raise ExperimentError(result)
    return result


def prepare(
    env_id: ScenarioLike | Sequence[ScenarioLike],
    agents: AgentLike | Sequence[AgentLike],
    seeds: int | Sequence[int],
    env_kwargs: Mapping[str, Any] | None = None,
) -> list[Run]:
    """Returns the runs of an experiment after checking what can be checked without playing.

    Raises:
        TypeError: See `run_experiment`.
        ValueError: See `run_experiment`.
    """
    cached_dataset.cache_clear()  # files may have changed since an earlier call
    runs = define_runs(env_id, agents, seeds, env_kwargs or {})
    for scenario in {run.scenario.label: run.scenario for run in runs}.values():
        scenario.check()
    for run in runs:
        run.digest  # noqa: B018 - so that a setting that cannot be compared is refused now
    return runs


def play(
    runs: Sequence[Run],
    output: Path,
    workers: int,
    progress: Callable[[ExperimentProgress], None] | None = None,
) -> ExperimentResult:
    """Plays the runs that are not in a folder yet, and writes the results of all of them."""
    tell = progress or _log
    discard_unfinished(output)
    missing = [run for run in runs if not is_intact(run.folder(output))]
    done = len(runs) - len(missing)
    tell(ExperimentProgress(done, len(runs)))
    for run in missing:
        if run.folder(output).exists():
            shutil.rmtree(run.folder(output))
            note = f"{run.title}: its files were damaged; it is played again"
            tell(ExperimentProgress(done, len(runs), note=note))
    failures = {}
    for run, error in play_all(missing, output, workers):
        done += 1
        if error is not None:
            failures[run.digest] = Failure(run, error.message, error.traceback)
        message = None if error is None else error.message
        tell(ExperimentProgress(done, len(runs), run, message))
    finished = tuple(run for run in runs if run.digest not in failures)
    ordered = tuple(failures[run.digest] for run in runs if run.digest in failures)
    result = ExperimentResult(output, finished, ordered)
    result.write()
    return result


def _log(progress: ExperimentProgress) -> None:
    if progress.note is not None:
        _LOG.warning(progress.note)


def _in_memory(result: ExperimentResult) -> ExperimentResult:
    """Returns a result that does without its folder."""
    kept = ExperimentResult(None, result.runs, result.failures)
    for name in ("record", "summary", "timeseries", "requests"):
        vars(kept)[name] = getattr(result, name)
    return kept
