"""A part of an experiment, for several processes that share a folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self, TypeVar

from edgecloud_gym.checks import check_integer

T = TypeVar("T")


@dataclass(frozen=True)
class Shard:
    """One of several equal parts of an experiment.

    Attributes:
        number: Which one, from 1.
        count: Of how many.

    Raises:
        TypeError: If a number is no integer.
        ValueError: If it is out of range.
    """

    number: int
    count: int

    def __post_init__(self) -> None:
        check_integer("shards", self.count, least=1)
        check_integer("shard", self.number, least=1, most=self.count)

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Reads "2/4", the second of four.

        Raises:
            ValueError: If it is nothing of that kind.
        """
        number, _, count = text.partition("/")
        if not (number.strip().isdecimal() and count.strip().isdecimal()):
            raise ValueError(f"shard {text!r}: must be number/count, such as 2/4")
        return cls(int(number), int(count))

    def of(self, items: Sequence[T]) -> Sequence[T]:
        """Returns its part of some items, dealt like cards, so that costs are shared out."""
        return items[self.number - 1 :: self.count]
