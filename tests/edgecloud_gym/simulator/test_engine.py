"""The compiled engine against a plain step-by-step one, and against cases worked out by hand."""

import numpy as np
import pytest
from numpy.random import Generator, default_rng

from edgecloud_gym.engines import EngineModel
from edgecloud_gym.simulator.engine_log import simulate_engine
from tests.edgecloud_gym.simulator.engine_twin import Request, run_twin

SYSTEMS = 300


def random_system(rng: Generator) -> tuple[EngineModel, list[Request]]:
    """A server of random settings and requests that keep it between idle and overloaded."""
    block = int(rng.choice([1, 4, 16]))
    sequences = int(rng.choice([1, 2, 3, 8, 40]))
    longest = int(rng.choice([12, 60, 300]))
    answers = int(rng.choice([1, 8, 40, 150]))
    budget = max(sequences, int(rng.choice([8, 50, 200, 2048])))
    most = longest + answers
    tight = int(rng.integers(most + block, most * max(2, sequences // 2) + block + 1))
    curve = None
    if rng.random() < 0.25:
        at = np.unique(rng.integers(1, 60, 4)).tolist()
        curve = tuple(
            zip(
                [1, *(t + 1 for t in at)],
                np.sort(rng.uniform(0.004, 0.1, len(at) + 1)).tolist(),
                strict=True,
            )
        )
    model = EngineModel(
        step_overhead=float(rng.choice([0.0, 1e-3])),
        step_floor=float(rng.uniform(1e-3, 1e-2)),
        token_time=float(rng.choice([1e-5, 1e-4, 2e-3])),
        context_time=float(rng.choice([0.0, 1e-7, 2e-5])),
        prefill_overhead=float(rng.choice([0.0, 0.02])),
        sequences=sequences,
        batched_tokens=budget,
        kv_tokens=None if rng.random() < 0.3 else tight,
        block_size=block,
        lookahead=bool(rng.random() < 0.5),
        reserve_prompt=bool(rng.random() < 0.5),
        prefix_caching=bool(rng.random() < 0.5),
        step_times=curve,
    )
    if rng.random() < 0.4:
        model = model.replaced(
            shared_prefix=int(rng.choice([0, 3, 30, 500])), mixed_batches=bool(rng.random() < 0.5)
        )
    n = int(rng.integers(5, 60))
    prompts = rng.integers(1, longest + 1, n)
    outputs = rng.integers(1, answers + 1, n)
    rate = model.capacity(float(prompts.mean()), float(outputs.mean())) * rng.choice([0.3, 1, 3])
    times = np.cumsum(rng.exponential(1 / rate, n))
    if rng.random() < 0.3:  # some at the same time
        times = np.repeat(times[::4], 4)[:n]
    found: list[int | None] = [None] * n
    if rng.random() < 0.3:  # known of each request, or of most
        drawn = rng.integers(-5, longest, n).tolist()
        found = [tokens if tokens >= 0 else None for tokens in drawn]
    return model, [
        Request(i, float(t), int(p), int(o), k)
        for i, (t, p, o, k) in enumerate(zip(times, prompts, outputs, found, strict=True))
    ]


def both(model: EngineModel, requests: list[Request]) -> tuple[np.ndarray, np.ndarray]:
    run_twin(model, requests)
    times = simulate_engine(
        model,
        [r.arrival for r in requests],
        [r.prompt for r in requests],
        [r.output for r in requests],
        [-1 if r.found is None else r.found for r in requests],
    )
    expected = np.array(
        [(r.first_token, r.finish, r.preemptions, r.admitted) for r in requests], float
    )
    return expected, np.column_stack(times)


@pytest.mark.parametrize("seed", range(SYSTEMS))
def test_equals_the_step_by_step_engine(seed: int) -> None:
    expected, got = both(*random_system(default_rng([seed, 14])))
    np.testing.assert_array_equal(got[:, 2], expected[:, 2])
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-9)


BY_HAND = EngineModel(
    step_overhead=1.0,
    step_floor=2.0,
    token_time=0.5,
    context_time=0.25,
    sequences=2,
    batched_tokens=4,
    lookahead=False,
)


def test_one_request_by_hand() -> None:
    """A prompt of 6 in pieces of 4 and 2, then two tokens that look back on 6 and 7."""
    times = simulate_engine(BY_HAND, [10.0], [6], [3])
    assert times.first_token.tolist() == [10 + (1 + 2) + (1 + 2)]
    assert times.finish.tolist() == [16 + (1 + 2 + 6 / 4) + (1 + 2 + 7 / 4)]


@pytest.mark.parametrize(("lookahead", "first"), [(False, 6.0), (True, 9.0)])
def test_lookahead_lets_an_arrival_wait_a_step_longer(lookahead: bool, first: float) -> None:
    """Steps of 3 s; the arrival at 1 s finds the next one composed, or not."""
    model = BY_HAND.replaced(lookahead=lookahead, context_time=0.0)
    times = simulate_engine(model, [0.0, 1.0], [1, 1], [9, 1])
    assert times.first_token[1] == first


def test_steps_with_prompt_tokens_take_no_less_than_their_launch() -> None:
    times = simulate_engine(BY_HAND.replaced(prefill_overhead=8.0), [0.0], [6], [2])
    assert times.first_token.tolist() == [16.0]
    assert times.finish.tolist() == [16 + 1 + 2 + 6 / 4]


def test_curve_takes_the_place_of_floor_and_token_time() -> None:
    curve = ((1.0, 3.0), (3.0, 4.0))
    times = simulate_engine(BY_HAND.replaced(step_times=curve), [0.0], [4], [2])
    assert times.first_token.tolist() == [1 + 4.5]  # the last slope goes on
    assert times.finish.tolist() == [5.5 + 1 + 3 + 4 / 4]


def test_a_cached_prefix_is_not_computed_but_looked_back_on() -> None:
    """As the request of 6 above, of which only 2 are computed, in one step."""
    for model, found in ((BY_HAND, [4]), (BY_HAND.replaced(shared_prefix=4), None)):
        times = simulate_engine(model, [10.0], [6], [3], found)
        assert times.first_token.tolist() == [10 + (1 + 2)]
        assert times.finish.tolist() == [13 + (1 + 2 + 6 / 4) + (1 + 2 + 7 / 4)]


@pytest.mark.parametrize(("shared", "found"), [(0, 30), (30, -1), (7, 30)])
def test_time_to_first_token_is_that_of_what_is_computed(shared: int, found: int) -> None:
    """Overhead + (prompt - cached) tokens; of prompts no longer than that, one token."""
    model = BY_HAND.replaced(step_floor=0.0, batched_tokens=1000, shared_prefix=shared)
    prompts = np.array([100, 40, 30, 5])
    arrivals = 1000.0 * np.arange(4)  # each alone
    times = simulate_engine(model, arrivals, prompts, [2] * 4, [found] * 4)
    assert (times.first_token - arrivals).tolist() == [1 + 0.5 * n for n in (70, 10, 1, 1)]


def test_the_preempted_find_the_shared_prefix_again() -> None:
    """Both hold 6 tokens when the cache is full: the younger is to read its prompt of 4 and its
    answer so far anew, less the 3 of the prefix. It saves these twice, the older one once."""
    model = EngineModel(
        step_overhead=0.0, step_floor=0.0, token_time=1.0, context_time=0.0, sequences=2,
        kv_tokens=12, block_size=1, lookahead=False, prefix_caching=False,
    )  # fmt: skip
    load = [0.0, 0.0], [4, 4], [6, 6]
    plain = simulate_engine(model, *load)
    shared = simulate_engine(model.replaced(shared_prefix=3), *load)
    for times in (plain, shared):  # a prefix takes no less of the cache
        assert times.preemptions.tolist() == [0, 1]
    assert (plain.finish - shared.finish).tolist() == [6.0, 9.0]


def test_batches_that_are_not_mixed_take_their_times_one_after_the_other() -> None:
    """The second prompt of 4, at 3 s, is read while the first request decodes its second token."""
    model = BY_HAND.replaced(context_time=0.0, batched_tokens=8)
    load = [0.0, 3.0], [4, 4], [9, 1]
    assert simulate_engine(model, *load).first_token.tolist() == [3, 3 + 1 + 0.5 * 5]
    apart = simulate_engine(model.replaced(mixed_batches=False), *load)
    assert apart.first_token.tolist() == [3, 3 + 1 + 2 + 0.5 * 4]


def test_order_of_rows_does_not_matter() -> None:
    model, requests = random_system(default_rng(5))
    rows = [(r.arrival, r.prompt, r.output) for r in requests]
    there = np.column_stack(simulate_engine(model, *zip(*rows, strict=True)))
    if len({r.arrival for r in requests}) == len(requests):
        back = np.column_stack(simulate_engine(model, *zip(*rows[::-1], strict=True)))
        np.testing.assert_array_equal(there, back[::-1])


def test_random_systems_meet_every_rule() -> None:
    """The comparison with the plain engine means something only if the rules are at work in it."""
    systems = [random_system(default_rng([seed, 14])) for seed in range(SYSTEMS)]
    crowded = [m for m, requests in systems if _preempts(m, requests)]
    assert len(crowded) >= 40
    for flag in ("lookahead", "reserve_prompt", "prefix_caching"):
        assert 10 < sum(getattr(m, flag) for m in crowded) < len(crowded) - 10
    assert sum(m.step_times is not None for m, _ in systems) > 40
    assert sum(not m.mixed_batches for m, _ in systems) > 40
    assert sum(m.shared_prefix > 0 for m in crowded) >= 5
    assert sum(any(r.found is not None for r in rs) for _, rs in systems) > 60
    assert sum(any(r.prompt > m.batched_tokens for r in rs) for m, rs in systems) > 40


def _preempts(model: EngineModel, requests: list[Request]) -> bool:
    rows = zip(*((r.arrival, r.prompt, r.output) for r in requests), strict=True)
    return bool(simulate_engine(model, *rows).preemptions.any())
