"""Writing the results of an experiment that shards have played, from its folder alone."""

from __future__ import annotations

from pathlib import Path

from agents.experiments.results.folder import read_claim
from agents.experiments.results.record import RunKey, write
from agents.experiments.runs.store import RunStore
from agents.report.results import ResultsFolder, read_results


class UnfinishedError(ValueError):
    """An experiment cannot be merged yet.

    Attributes:
        missing: The runs that are neither finished nor failed.
    """

    def __init__(self, output: Path, missing: list[RunKey], total: int, playing: int) -> None:
        self.missing = missing
        first = "; ".join(run.title for run in missing[:3])
        more = f"; {len(missing) - 3} more" if len(missing) > 3 else ""
        now = f" ({playing} of them are being played now)" if playing else ""
        super().__init__(
            f"{output}: {len(missing)} of {total} runs are still to be played{now}: {first}{more}"
        )


def merge(output: Path) -> ResultsFolder:
    """Writes the CSVs and ``run.json`` of an experiment whose shards have all been played.

    They are, bit for bit, what one process would have written.

    Args:
        output: The folder that the shards share.

    Returns:
        The results.

    Raises:
        FileNotFoundError: If no experiment was begun there, or every run failed.
        UnfinishedError: If runs are still to be played.
        UnreadableFileError: If the folder is damaged.
    """
    definition = read_claim(output)
    store = RunStore(output)
    runs = [RunKey(*fields) for fields in definition["runs"]]
    finished, failures, missing = [], [], []
    with store.alone():
        for run in runs:
            failure = None if store.is_done(run.digest) else store.failure(run.digest)
            if store.is_done(run.digest):
                finished.append(run)
            elif failure is not None:
                failures.append((f"{run.title}: {failure.message}", failure.traceback))
            else:
                missing.append(run)
        if missing:
            raise UnfinishedError(output, missing, len(runs), store.others())
        write(output, definition, finished, failures)
        store.tidy()
    return read_results(output)
