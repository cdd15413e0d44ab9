"""The families of the built-in prompt set: templates, and how often each kind of prompt occurs."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Family:
    """Templates that ask for answers of a similar form and length.

    Attributes:
        name: Identifier of the family.
        share: Relative frequency in the prompt set, > 0.
        templates: Texts whose ``{slot}`` fields name entries of the vocabulary. They take turns.
        further: Texts for sets so large that the templates are used up.
    """

    name: str
    share: float
    templates: tuple[str, ...]
    further: tuple[str, ...] = ()


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
    Family(
        "sentiment",
        6.0,
        ('{review_label}\n\nReview: "{review}"',),
        further=(
            'What did this customer buy or visit? Answer in two words.\n\nReview: "{review}"',
            'Would this customer come back? Answer yes or no.\n\nReview: "{review}"',
        ),
    ),
    Family(
        "translation",
        9.0,
        (
            "Translate into {language}: {sentence}",
            'How do you say "{sentence}" in {language}? Give only the translation.',
        ),
        further=("Translate into {language}: I would like to hear more about {subject}.",),
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
        further=(
            "Suggest a title for a story about {character} and {object}. Give only the title.",
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
        further=("Write one sentence in which {character} finds {object}.",),
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
        further=("In two sentences, say what {object} and {object_b} have in common.",),
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
        further=("Name three things that {character} might do {place}, each in a few words.",),
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
        further=("Give five words that describe {animal}.",),
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
        further=("Write a short paragraph about {character} {place}.",),
    ),
    Family(
        "message",
        3.0,
        ("Write a short, {recipient_tone} message of two or three sentences that {occasion}.",),
        further=("Write a {recipient_tone} message of one sentence that {occasion}.",),
    ),
    Family(
        "code",
        4.0,
        ("Write a {code_language} function that {function}. {code_style}",),
        further=("Say in two sentences how a {code_language} function that {function} works.",),
    ),
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
        further=("List the first four steps of {activity}.",),
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
