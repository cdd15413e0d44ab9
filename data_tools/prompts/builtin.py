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

from data_tools.prompts.vocabulary import VOCABULARY
from edgecloud_gym.checks import check_integer

DEFAULT_PROMPT_COUNT = 2200


@dataclass(frozen=True)
class Prompt:
    """A prompt text and the name of the family it was made from."""

    text: str
    family: str


@dataclass(frozen=True)
class Family:
    """Templates that ask for answers of a similar form and length.

    Attributes:
        name: Identifier of the family.
        share: Relative frequency in the prompt set, > 0.
        templates: Texts whose ``{slot}`` fields name entries of the vocabulary. They take turns.
    """

    name: str
    share: float
    templates: tuple[str, ...]


FAMILIES: tuple[Family, ...] = (
    Family(
        "yes_no",
        11.0,
        (
            "Answer yes or no: is {animal} {animal_kind}?",
            "Is {object} {property}? Reply with yes or no only.",
            "Yes or no: can you buy {object} in {country}?",
            "Is {country} larger than {country_b}? Just say yes or no.",
        ),
    ),
    Family(
        "one_word",
        10.0,
        (
            "What is the opposite of '{adjective}'? Answer with one word.",
            "What is the {country_fact} of {country}? Answer in one or two words.",
            "Give the plural of the noun '{noun}'. Reply with the word only.",
            "Give the past tense of the verb '{verb}'. Reply with the word only.",
            "What is the {country_fact} of {country}?",
        ),
    ),
    Family(
        "arithmetic",
        6.0,
        (
            "What is {number} {operation} {number_b}? Answer with the number only.",
            "Calculate {number} {operation} {number_b}.",
        ),
    ),
    Family("sentiment", 6.0, ('{review_label}\n\nReview: "{review}"',)),
    Family(
        "translation",
        9.0,
        (
            "Translate into {language}: {sentence}",
            'How do you say "{sentence}" in {language}? Give only the translation.',
        ),
    ),
    Family(
        "rewriting",
        7.0,
        (
            "Rewrite this sentence {rewriting}: {sentence}",
            'Rewrite the following {rewriting}. Give only the new sentence.\n\n"{sentence}"',
        ),
    ),
    Family(
        "title",
        5.0,
        (
            "Suggest one title for an article about {subject}. Give only the title.",
            "Write a headline for a news item about {activity}. Give only the headline.",
            "Suggest a title for a story about {character}. Give only the title.",
            "Invent a name for a shop that sells {category}. Give only the name.",
        ),
    ),
    Family(
        "one_sentence",
        11.0,
        (
            "In one sentence, explain what {concept} is.",
            "Explain {concept} to a child in a single sentence.",
            "Write one sentence about {subject}.",
            "In one sentence, give advice on {activity}.",
            "Use the word '{adjective}' in a sentence.",
            "What is {concept}? Answer in one sentence.",
            "What is {object} used for? Answer in one sentence.",
        ),
    ),
    Family(
        "summary",
        7.0,
        (
            "Summarise the following text in one sentence.\n\n{opening} {detail} {closing}",
            "What is this text about? Answer in at most ten words.\n\n{opening} {detail} {closing}",
        ),
    ),
    Family(
        "few_sentences",
        7.0,
        (
            "Explain {concept} in two sentences.",
            "In three sentences, describe {subject}.",
            "What is the difference between {pair}? Answer in two sentences.",
            "Explain in three sentences why {concept} matters.",
            "In two sentences, say what a visitor should see in {country}.",
        ),
    ),
    Family(
        "list_three",
        6.0,
        (
            "List three {category}. Names only.",
            "List three tips for {activity}, each in a few words.",
            "Name three {category} and say one thing about each.",
            "Give three words that describe {subject}.",
            "Name three uses of {object}, each in a few words.",
        ),
    ),
    Family(
        "list_five",
        4.0,
        (
            "List five {category}. Names only.",
            "Give me five short tips for {activity}.",
            "List five words that go with {subject}.",
            "Name five things that happen in {country}, each in a few words.",
        ),
    ),
    Family(
        "list_ten",
        1.0,
        ("List ten {category}, one per line.", "Give me ten words about {subject}, one per line."),
    ),
    Family(
        "paragraph",
        5.0,
        (
            "Write a short paragraph about {subject}.",
            "Describe {subject} in a short paragraph of about fifty words.",
            "Write a short paragraph that explains {concept}.",
        ),
    ),
    Family(
        "message",
        3.0,
        ("Write a short, {recipient_tone} message of two or three sentences that {occasion}.",),
    ),
    Family("code", 4.0, ("Write a {code_language} function that {function}. {code_style}",)),
    Family(
        "poem",
        2.0,
        ("Write a haiku about {subject}.", "Write a poem of four lines about {subject}."),
    ),
    Family(
        "open_question",
        1.0,
        (
            "Why is {concept} important?",
            "What should I know about {activity}?",
            "How does {concept} work?",
        ),
    ),
    Family(
        "steps",
        1.5,
        (
            "Explain step by step how to make {thing_to_make}.",
            "Give me a plan in four short steps for {activity}.",
            "Explain how to make {thing_to_make}.",
        ),
    ),
    Family("story", 1.0, ("Tell a very short story of four sentences about {character} {place}.",)),
    Family(
        "essay",
        0.5,
        (
            "Write a short essay on the advantages and disadvantages of {debate}.",
            "Write an essay about {subject}.",
        ),
    ),
)


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
    """Yields the family's texts; its templates take turns until all of them are used up."""
    streams = [_fillings(template, rng) for template in family.templates]
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
