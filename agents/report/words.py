"""Numbers with nouns, as people write them."""


def counted(number: int, noun: str) -> str:
    """Returns a number with a noun, in the plural unless it is one.

    >>> counted(1, "seed"), counted(0, "seed"), counted(204_800, "step"), counted(2, "process")
    ('1 seed', '0 seeds', '204,800 steps', '2 processes')
    """
    plural = noun + ("es" if noun.endswith("s") else "s")
    return f"{number:,} {noun if number == 1 else plural}"


def one_line(text: str) -> str:
    r"""Returns text in one line, single blanks between its words.

    >>> one_line(" two\n  lines ")
    'two lines'
    """
    return " ".join(text.split())
