"""The built-in prompt set: a deterministic generator of prompts with widely varying answer lengths.

A prompt is a template of some *family* ("answer yes or no", "list five", "write a function that",
"write an essay") whose slots are filled from :data:`vocabulary.VOCABULARY`. The family
cue decides most of the answer's length, so lengths are partly predictable from the text, which is
what a scheduler that reads prompts needs. Most families have a natural end: small models ramble on
open questions until they are cut off.

The sequence is *balanced*: each prefix holds every family in its share, give or take two. So the
first n prompts are a fair sample of the whole set, and an interrupted measurement is too.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from string import Formatter

import numpy as np

from data_tools.prompts.families import FAMILIES, Family
from data_tools.prompts.vocabulary import VOCABULARY
from edgecloud_gym.checks import check_integer

DEFAULT_PROMPT_COUNT = 2200


@dataclass(frozen=True)
class Prompt:
    """A prompt text and the name of the family it was made from."""

    text: str
    family: str


def _slots(template: str) -> tuple[str, ...]:
    """Returns the slot names of a template in order of appearance."""
    return tuple(name for _, name, _, _ in Formatter().parse(template) if name)


def _choices(slot: str) -> tuple[str, ...]:
    """Returns the phrases for a slot; a ``_b`` suffix asks for a second one from the same list."""
    return VOCABULARY[slot.removesuffix("_b")]


def _fillings(template: str, rng: np.random.Generator) -> Iterator[str]:
    """Yields every filling of a template once, in random order.

    A filling is an integer in mixed radix, one digit per slot, so a permutation of the integers is
    a random order of the fillings.
    """
    slots = _slots(template)
    radices = [len(_choices(slot)) for slot in slots]
    for code in rng.permutation(math.prod(radices)):
        digits = np.unravel_index(code, radices)
        phrases = {slot: _choices(slot)[int(d)] for slot, d in zip(slots, digits, strict=True)}
        if len(set(phrases.values())) == len(phrases):  # "Is Peru larger than Peru?"
            yield template.format_map(phrases)


def _family_texts(family: Family, rng: np.random.Generator) -> Iterator[str]:
    """Yields the family's texts; its templates take turns until all of them are used up.

    The further ones come after that, so that they leave every smaller set as it was.
    """
    for templates in (family.templates, family.further):
        streams = [_fillings(template, rng) for template in templates]
        while streams:
            for stream in list(streams):
                text = next(stream, None)
                if text is None:
                    streams.remove(stream)
                else:
                    yield text


def generate_prompts(count: int = DEFAULT_PROMPT_COUNT, *, seed: int = 0) -> list[Prompt]:
    """Generates the first ``count`` prompts of the built-in set.

    A smaller count gives a prefix of a larger one, and every prefix is balanced over the families
    (stride scheduling: prompt i of a family with share w stands at position (i + u) / w).

    Args:
        count: How many prompts, >= 1.
        seed: Seed of the set, >= 0; 0 is the set that the bundled dataset was measured on.

    Returns:
        Distinct prompts in balanced order.

    Raises:
        ValueError: If ``count`` is not positive or exceeds what the templates can give.
    """
    check_integer("count", count, least=1)
    total_share = sum(family.share for family in FAMILIES)
    placed: list[tuple[float, Prompt]] = []
    for index, family in enumerate(FAMILIES):
        rng = np.random.default_rng([seed, index])
        offset = rng.random()
        needed = math.ceil(count * family.share / total_share) + 1
        texts = dict.fromkeys(islice(_family_texts(family, rng), needed))
        if len(texts) < needed:
            raise ValueError(
                f"count={count}: must be smaller; family {family.name!r} has {len(texts)} prompts "
                f"where it needs {needed}"
            )
        placed += [
            ((i + offset) / family.share, Prompt(text, family.name)) for i, text in enumerate(texts)
        ]
    placed.sort(key=lambda item: item[0])
    return [prompt for _, prompt in placed[:count]]
