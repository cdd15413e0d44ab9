"""Prompts of a wanted length in tokens, without the server's tokenizer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

# Frequent English words: most tokenizers have a token for each.
_TEXT: Final = (
    "the of and to in is was for that on with as by at from his are be which this had not but have "
    "were one all their been has who will more no if out so what up can about into them could time "
    "some other than then two only its over also any new these after first man made people most "
    "such water through where years used way many day work part place world three back year well "
    "house still great long hand little state found night before same know life high right old"
)
WORDS: Final = tuple(_TEXT.split())


def random_words(count: int, rng: np.random.Generator) -> str:
    """Returns so many words in random order: no two texts share a beginning worth caching."""
    return " ".join(WORDS[i] for i in rng.integers(len(WORDS), size=max(1, count)))


@dataclass(frozen=True)
class TokenScale:
    """Tokens of a prompt of random words, as a server counts them: base + per_word · words.

    Attributes:
        base: What a chat template adds.
        per_word: Tokens per word.
    """

    base: float
    per_word: float

    @classmethod
    def between(cls, few: tuple[int, int], many: tuple[int, int]) -> TokenScale:
        """Returns the line through two pairs (words, tokens)."""
        per_word = max((many[1] - few[1]) / (many[0] - few[0]), 1e-3)
        return cls(base=few[1] - per_word * few[0], per_word=per_word)

    def words(self, tokens: int) -> int:
        """Returns how many words make about so many tokens, 1 at least."""
        return max(1, round((tokens - self.base) / self.per_word))

    def prompt(self, tokens: int, rng: np.random.Generator) -> str:
        """Returns a prompt of about so many tokens."""
        return random_words(self.words(tokens), rng)
