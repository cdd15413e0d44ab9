"""Numbers with nouns, as people write them."""

from collections.abc import Sequence


def counted(number: int, noun: str) -> str:
    """Returns a number with a noun, in the plural unless it is one.

    >>> counted(1, "seed"), counted(0, "seed"), counted(204_800, "step"), counted(2, "process")
    ('1 seed', '0 seeds', '204,800 steps', '2 processes')
    """
    plural = noun + ("es" if noun.endswith("s") else "s")
    return f"{number:,} {noun if number == 1 else plural}"


def ranges(numbers: Sequence[int]) -> str:
    """Returns whole numbers in their order, those that follow each other as a range.

    >>> ranges([0, 1, 2, 3, 4, 7])
    '0-4, 7'
    """
    parts: list[list[int]] = []
    for number in numbers:
        if parts and number == parts[-1][-1] + 1:
            parts[-1].append(number)
        else:
            parts.append([number])
    return ", ".join(f"{p[0]}-{p[-1]}" if len(p) > 1 else str(p[0]) for p in parts)


def one_line(text: str) -> str:
    r"""Returns text in one line, single blanks between its words.

    >>> one_line(" two\n  lines ")
    'two lines'
    """
    return " ".join(text.split())
