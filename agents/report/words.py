"""Numbers with nouns, as people write them."""


def counted(number: int, noun: str) -> str:
    """Returns a number with a noun, in the plural unless it is one.

    >>> counted(1, "seed"), counted(0, "seed"), counted(204_800, "step")
    ('1 seed', '0 seeds', '204,800 steps')
    """
    return f"{number:,} {noun if number == 1 else noun + 's'}"


def one_line(text: str) -> str:
    r"""Returns text in one line, single blanks between its words.

    >>> one_line(" two\n  lines ")
    'two lines'
    """
    return " ".join(text.split())
