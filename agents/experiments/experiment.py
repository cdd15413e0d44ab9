"""Experiments: scenarios x agents x seeds under common random numbers, in parallel, resumable."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from agents.experiments.design.scenario import cached_dataset
from agents.experiments.executors.executor import play_on
from agents.experiments.executors.workers import Player, play_in_processes
from agents.experiments.play import ExperimentProgress, play
from agents.experiments.results.folder import claim
from agents.experiments.results.result import ExperimentError, ExperimentResult
from agents.experiments.runs.definition import AgentLike, ScenarioLike, as_record, define_runs
from agents.experiments.runs.run import Run
from agents.experiments.shard import Shard
from edgecloud_gym.checks import check_integer
from edgecloud_gym.wording import shown


def run_experiment(
    env_id: ScenarioLike | Sequence[ScenarioLike],
    agents: AgentLike | Sequence[AgentLike],
    seeds: int | Sequence[int],
    env_kwargs: Mapping[str, Any] | None = None,
    output_dir: str | Path | None = "results",
    *,
    learn: bool | None = None,
    workers: int = 1,
    progress: Callable[[ExperimentProgress], None] | None = None,
    plots: bool = False,
    overwrite: bool = False,
    executor: Executor | None = None,
    shard: Shard | str | None = None,
    retry_failed: bool = False,
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
    results do not depend on the number of workers, nor on which machine plays what.

    A folder belongs to one experiment, which may grow by scenarios, agents and seeds. Several
    processes may play it at once, with or without ``shard``: none plays what another one is at.

    Args:
        env_id: An environment id or `Scenario`, or several.
        agents: A name, subclass of `Agent` or `AgentSpec`, or several.
        seeds: The seeds, or how many: 0, 1, ...
        env_kwargs: Settings of every environment; those of a `Scenario` go before them.
        output_dir: Where the results go; ``None`` keeps them in memory alone.
        learn: Whether the agents may try things out and learn while they are evaluated. ``False``
            evaluates all as they are, ``True`` lets all learn; ``None`` leaves it to each: those
            that learn do, but for an `AgentSpec` with ``explore=False``. Where prompts recur,
            remembering is worth as much as predicting, so that tables and reports tell it.
        workers: Processes; with more than one, a script that calls this needs the usual
            ``if __name__ == "__main__"``, and an agent that ends its process takes no other run
            with it.
        progress: Called in this process at the start and after every run.
        plots: Whether to draw the pictures into the folder as well.
        overwrite: Whether to clear the folder if it holds another experiment.
        executor: Who plays, instead of processes of this machine: anything that has the interface
            of `concurrent.futures.Executor`. Its workers need the same versions of the packages,
            and no disk in common: settings, classes, files and datasets travel to them.
        shard: Plays a part of the runs only, such as "2/4", the second of four, into a folder
            that all parts share. Whichever finds all runs finished writes the results.
        retry_failed: Whether to play runs again that failed in an earlier call.

    Returns:
        The results, which are in the folder as well: ``summary.csv``, ``timeseries.csv``,
        ``requests.csv`` and ``run.json``, all of them or none.

    Raises:
        ExecutorError: If the executor takes no runs, or loses them; what has finished is kept.
        ExperimentError: If runs failed, after the results of the others have been written.
        OSError: If nothing can be written to the folder; noticed before anything is played.
        TypeError: If an argument or a setting is of a wrong type.
        ValueError: If an agent is unknown, labels or seeds repeat, a setting is out of range, no
            request can ever arrive, or the folder holds another experiment.
    """
    runs = prepare(env_id, agents, seeds, env_kwargs, learn)
    for note in ignorant(runs):
        warnings.warn(note, UserWarning, stacklevel=2)
    player = _player(workers, executor)
    part = Shard.parse(shard) if isinstance(shard, str) else shard
    if output_dir is None:
        for name, given in (("plots", plots), ("shard", part)):
            if given:
                raise ValueError(f"{name}={given}: needs an output_dir")
        with TemporaryDirectory() as folder:
            claim(Path(folder), as_record(runs))
            result = _in_memory(play(runs, Path(folder), player, progress))
    else:
        if not str(output_dir).strip():
            raise ValueError(f"output_dir={shown(output_dir)}: '.' is the current folder")
        output = Path(output_dir)
        claim(output, as_record(runs), overwrite=overwrite, together=part is not None)
        result = play(runs, output, player, progress, shard=part, retry_failed=retry_failed)
        if plots and not result.missing:
            result.draw()
    if result.failures:
        raise ExperimentError(result)
    return result


def prepare(
    env_id: ScenarioLike | Sequence[ScenarioLike],
    agents: AgentLike | Sequence[AgentLike],
    seeds: int | Sequence[int],
    env_kwargs: Mapping[str, Any] | None = None,
    learn: bool | None = None,
) -> list[Run]:
    """Returns the runs of an experiment after checking what can be checked without playing.

    Raises:
        TypeError: See `run_experiment`.
        ValueError: See `run_experiment`.
    """
    cached_dataset.cache_clear()  # files may have changed since an earlier call
    runs = define_runs(env_id, agents, seeds, env_kwargs or {}, learn)
    for scenario in {run.scenario.label: run.scenario for run in runs}.values():
        scenario.check()
    for run in runs:
        run.digest  # noqa: B018 - so that a setting that cannot be compared is refused now
    return runs


def ignorant(runs: Sequence[Run]) -> list[str]:
    """Returns a remark on each agent that neither has learnt before nor may learn now."""
    specs = {run.spec.label: run.spec for run in runs}
    return [
        f"agent {shown(label)} starts from zero and may not learn (learn=False): it has nothing to "
        f"go by and takes requests as they come; give it what `edgecloud train {spec.name}` saved"
        for label, spec in specs.items()
        if spec.knows_nothing
    ]


def _player(workers: int, executor: Executor | None) -> Player:
    """Returns who plays.

    Raises:
        TypeError: If the executor is none.
        ValueError: If both are given.
    """
    count = check_integer("workers", workers, least=1)
    if executor is None:
        return partial(play_in_processes, count)
    if not callable(getattr(executor, "submit", None)):
        raise TypeError(f"executor={shown(executor)}: must be a concurrent.futures.Executor")
    if count > 1:
        raise ValueError(f"workers={count}: the executor has its own; give one of the two")
    return partial(play_on, executor)


def _in_memory(result: ExperimentResult) -> ExperimentResult:
    """Returns a result that does without its folder."""
    kept = ExperimentResult(None, result.runs, result.failures)
    for name in ("record", "summary", "timeseries", "requests"):
        vars(kept)[name] = getattr(result, name)
    return kept
