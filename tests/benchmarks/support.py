"""What the benchmarks share: their data, a fair stopwatch, ratios that are kept, and a table."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from edgecloud_gym import RequestDataset, load_dataset
from edgecloud_gym.dataset import bundled_datasets

Contestant = Callable[[], int]  # does some work, returns how many units of it


@dataclass(frozen=True)
class Ratio:
    """What was measured beside CartPole-v1 in the same run.

    Attributes:
        name: Of what.
        rate: Units per second of the best round.
        cartpole: Steps per second of CartPole-v1, likewise.
        goal: What the ratio should be at least; None where nothing is promised.
    """

    name: str
    rate: float
    cartpole: float
    goal: float | None = None

    @property
    def ratio(self) -> float:
        """Units per step of CartPole-v1."""
        return self.rate / self.cartpole

    def cells(self) -> tuple[str, ...]:
        """Returns a line of a table: name, rate, ratio, goal."""
        goal = "" if self.goal is None else f">= {self.goal:g}"
        return self.name, f"{self.rate:,.0f}", f"{self.ratio:.3g}", goal


@cache
def dataset() -> RequestDataset:
    """The bundled dataset, or a made-up one of the same form while there is none."""
    if "smollm2-135m" in bundled_datasets():
        return load_dataset("smollm2-135m")
    rng = np.random.default_rng(0)
    return RequestDataset.from_arrays(
        base_latency=rng.lognormal(1.0, 0.8, 2000),
        embeddings=rng.normal(size=(2000, 384)),
        prompt_tokens=rng.integers(5, 200, 2000),
        slowdown=1.0 + 0.05 * np.arange(64),
        name="synthetic",
    )


def best_rates(contestants: Mapping[str, Contestant], rounds: int) -> dict[str, float]:
    """Units of work per second, of each contestant's best round.

    The rounds are interleaved: a busy spell of the machine hits all alike. The best round is the
    one that was disturbed least.
    """
    rates = dict.fromkeys(contestants, 0.0)
    for _ in range(rounds):
        for name, work in contestants.items():
            started = time.perf_counter()
            units = work()
            rates[name] = max(rates[name], units / (time.perf_counter() - started))
    return rates


def print_ratios(title: str, unit: str, ratios: Iterable[Ratio]) -> None:
    """Prints what was measured beside CartPole-v1."""
    print_table(title, ("", unit, "of CartPole", "goal"), [r.cells() for r in ratios])


def print_table(title: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Prints aligned columns, the first to the left and the others to the right."""
    lines = [list(header), *map(list, rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    print(f"\n{title}")
    for line in lines:
        cells = [line[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True)]
        print("  " + "  ".join(cells).rstrip())
