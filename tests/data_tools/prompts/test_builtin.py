import re
from collections import Counter

import pytest

from data_tools.prompts.builtin import DEFAULT_PROMPT_COUNT, FAMILIES, Family, generate_prompts
from data_tools.prompts.vocabulary import VOCABULARY


@pytest.fixture(scope="module")
def prompts():
    return generate_prompts()


def test_at_least_two_thousand_distinct_prompts(prompts):
    assert len(prompts) == DEFAULT_PROMPT_COUNT >= 2000
    assert len({prompt.text for prompt in prompts}) == len(prompts)


def test_a_smaller_set_is_a_prefix_of_a_larger_one(prompts):
    assert generate_prompts(137) == prompts[:137]


def test_a_set_of_four_thousand_begins_with_the_smaller_ones(prompts):
    large = generate_prompts(4096)
    assert large[: len(prompts)] == prompts
    assert len({prompt.text for prompt in large}) == 4096
    test_texts_are_whole_sentences_without_open_slots(large)
    counted = Counter(prompt.family for prompt in large)
    total = sum(family.share for family in FAMILIES)
    assert all(abs(counted[f.name] - 4096 * f.share / total) <= 2 for f in FAMILIES)


def test_the_seed_decides(prompts):
    assert generate_prompts(50, seed=0) == prompts[:50]
    assert generate_prompts(50, seed=1) != prompts[:50]


@pytest.mark.parametrize("count", [40, 400, 1100])
def test_every_prefix_holds_each_family_in_its_share(prompts, count):
    counted = Counter(prompt.family for prompt in prompts[:count])
    total = sum(family.share for family in FAMILIES)
    for family in FAMILIES:
        assert abs(counted[family.name] - count * family.share / total) <= 2


def test_texts_are_whole_sentences_without_open_slots(prompts):
    for prompt in prompts:
        assert not re.search(r"[{}]|\s$|^\s|  ", prompt.text), prompt.text
        assert not re.search(r"\ba [aeio]\w+|\ban [^aeiouh\W]", prompt.text, re.IGNORECASE), prompt


def test_no_phrase_appears_twice_where_two_different_ones_are_meant(prompts):
    larger = [re.match(r"Is (\w+) larger than (\w+)\?", prompt.text) for prompt in prompts]
    pairs = [match.groups() for match in larger if match]
    assert pairs
    assert all(one != other for one, other in pairs)


def test_every_word_list_is_used(monkeypatch):
    marked = {
        name: tuple(f"<{name}> {i}" for i in range(len(phrases)))
        for name, phrases in VOCABULARY.items()
    }
    monkeypatch.setattr("data_tools.prompts.builtin.VOCABULARY", marked)
    texts = " ".join(prompt.text for prompt in generate_prompts())
    assert set(re.findall(r"<(\w+)>", texts)) == set(VOCABULARY)


@pytest.mark.parametrize("count", [0, -3])
def test_a_count_below_one_is_refused(count):
    with pytest.raises(ValueError, match=f"count={count}: must be an integer >= 1"):
        generate_prompts(count)


def test_more_than_the_templates_can_give_is_refused_naming_the_family(monkeypatch):
    small = Family("small", 1.0, ("List three {operation}.",))
    monkeypatch.setattr("data_tools.prompts.builtin.FAMILIES", (small,))
    assert len(generate_prompts(2)) == 2
    with pytest.raises(ValueError, match="family 'small' has 3 prompts"):
        generate_prompts(10)
