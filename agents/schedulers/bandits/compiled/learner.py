"""What compiled code is handed of a neural bandit that plays."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

# How a bandit explores.
NOT_AT_ALL: Final = 0  # nor does it learn
BY_LOT: Final = 1  # now and then the edge takes whom the lot chooses
BY_WIDTH: Final = 2  # a score is a prediction less a multiple of its width


class Exploration(NamedTuple):
    """How a bandit explores.

    Attributes:
        way: One of the three.
        epsilon: How often the lot decides.
        bonus: What a width counts for.
    """

    way: int = NOT_AT_ALL
    epsilon: float = 0.0
    bonus: float = 0.0


class Counts(NamedTuple):
    """Places in `Learner.counts`."""

    version: int = 0  # how often the network has changed
    steps: int = 1  # training steps taken
    seen: int = 2  # completed requests seen
    completed: int = 3  # of them in this episode
    ranking: int = 4  # so many of which make the next ranking due
    sent: int = 5  # dispatches noted down


class Sums(NamedTuple):
    """Places in `Learner.moments`, which `RunningMoments` explains."""

    weight: int = 0
    mean: int = 1
    deviations: int = 2


class Learner(NamedTuple):
    """A neural bandit: its network, what it remembers, what it has seen, and work space.

    Attributes:
        run: Address of the machine code of `compiled.network.run`.
        net: The network.
        table: The contexts of all dataset rows, float32 (rows, D).
        logs: Log base latencies of all dataset rows, float64 (rows,); read at completion alone.
        known: Which version of the network predicted each row, int64 (rows,), and
        remembered: what it predicted, float64 (rows,).
        contexts: Contexts of the completed requests kept, a ring, float32 (buffer, D), and
        held: their log times, float64 (buffer,).
        moments: See `Sums`, float64 (3,).
        counts: See `Counts`, int64 (6,).
        exploration: How it explores.
        discount: What a sample weighs against the next one, in the moments.
        learning_rate: Adam's step size.
        train_every: Completed requests per training step.
        random: Draws batches; see `agents.rules.draws`.
        sent: Who was dispatched, int64, any number of them, and
        log_times: which log times were predicted for them, float64.
        rows: Work space, int64 (M,), as all below: the rows that are asked about,
        fresh: those of them that the present network has not predicted,
        means: what it predicts for them, float64, and
        scores: their scores, float64.
        batch: Samples of a training step, int64 (batch size,), and
        targets: their standardised log times, float32.
        ones: float32 (capacity,), as `compiled.network.run` takes it.
        outputs: float32 (M or capacity,), and
        widths: likewise.
        nothing: float32 (0,).
    """

    run: Any
    net: Any
    table: Any
    logs: Any
    known: Any
    remembered: Any
    contexts: Any
    held: Any
    moments: Any
    counts: Any
    exploration: Any
    discount: Any
    learning_rate: Any
    train_every: Any
    random: Any
    sent: Any
    log_times: Any
    rows: Any
    fresh: Any
    means: Any
    scores: Any
    batch: Any
    targets: Any
    ones: Any
    outputs: Any
    widths: Any
    nothing: Any
