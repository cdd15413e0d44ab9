"""An engine that jumps from event to event, beside engines that take every step.

One of these is the plain twin that the tests compare with, in Python; the other does the same in
compiled code: each step visits each sequence, as a server does.
"""

import time

import numba
import numpy as np
from numpy.typing import NDArray

from edgecloud_gym import EngineModel, load_engine
from edgecloud_gym.simulator.compiled.engine import engine_settings
from edgecloud_gym.simulator.engine_log import simulate_engine
from tests.benchmarks.support import best_rates, print_table
from tests.edgecloud_gym.simulator.engine_twin import Request, run_twin

REQUESTS = 1500
Load = tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]
COMPILED_TWIN_GOAL, PYTHON_TWIN_GOAL = 10, 1000


def workload() -> Load:
    """Arrivals over half a minute, prompts and answers: 256 sequences want more than the cache."""
    rng = np.random.default_rng(0)
    prompts = rng.integers(50, 1500, REQUESTS)
    outputs = rng.integers(200, 900, REQUESTS)
    return np.sort(rng.uniform(0, 30, REQUESTS)), prompts, outputs


def server() -> EngineModel:
    return load_engine("h100-llama-3.1-8b").replaced(kv_tokens=200_000, prefix_caching=False)


STATE = np.dtype([(name, "i8") for name in ("running", "put_back", "head", "arrived", "free")])
STEP = np.dtype([(name, "i8") for name in ("decoding", "context", "reading", "leaving")])
REQUEST = np.dtype(
    [("finish", "f8")]
    + [(name, "i8") for name in ("prompt", "output", "cached", "answered", "to_read", "held")]
)


@numba.njit
def _compute(request, number, tokens, step, leaving):
    """Computes tokens of a request in a step; returns how many."""
    q = request[number]
    if q.cached < q.to_read:
        step.reading += tokens
    else:
        step.decoding += 1
        step.context += q.cached
    q.cached += tokens
    if q.cached >= q.to_read:
        q.answered += 1
        if q.answered == q.output:
            leaving[step.leaving] = number
            step.leaving += 1
    return tokens


@numba.njit
def _preempt(state, request, running, put_back):
    state.running -= 1
    youngest = running[state.running]
    state.free += request[youngest].held
    request[youngest].held = 0
    if request[youngest].answered < request[youngest].output:
        put_back[state.put_back] = youngest
        state.put_back += 1
    return youngest


@numba.njit
def _compose_running(m, state, request, running, put_back, step, leaving, budget):
    """Returns the budget left; 0 after a preemption: such a step admits nobody."""
    preempted = False
    i = 0
    while i < state.running:
        number = running[i]
        q = request[number]
        i += 1
        tokens = 1
        if q.cached < q.to_read:
            tokens = min(q.to_read - q.cached, budget)
        if q.answered == q.output or tokens == 0:
            continue
        need = (q.cached + tokens + m.block_size - 1) // m.block_size - q.held
        while need > state.free:
            preempted = True
            if _preempt(state, request, running, put_back) == number:
                return 0
        state.free -= need
        q.held += need
        budget -= _compute(request, number, tokens, step, leaving)
    return 0 if preempted else budget


@numba.njit
def _admit(m, state, request, running, put_back, step, leaving, budget):
    while budget > 0 and state.running < m.sequences:
        if state.put_back > 0:
            number = put_back[state.put_back - 1]
        elif state.head < state.arrived:
            number = state.head
        else:
            return
        q = request[number]
        length = q.prompt + q.answered
        if (length + m.block_size - 1) // m.block_size > state.free:
            return
        if state.put_back > 0:
            state.put_back -= 1
        else:
            state.head += 1
        q.to_read = length
        q.cached = 0
        tokens = min(length, budget)
        q.held = (tokens + m.block_size - 1) // m.block_size
        state.free -= q.held
        running[state.running] = number
        state.running += 1
        budget -= _compute(request, number, tokens, step, leaving)


@numba.njit
def _finish(state, request, running, number, now):
    request[number].finish = now
    state.free += request[number].held
    request[number].held = 0
    kept = 0
    for i in range(state.running):
        if running[i] != number:
            running[kept] = running[i]
            kept += 1
    state.running = kept


@numba.njit
def step_by_step(settings, states, request, steps, arrival):
    """An engine with lookahead and `reserve_prompt`, without prefix caching or curve."""
    m = settings[0]
    state = states[0]
    state.free = m.blocks
    running = np.zeros(m.sequences, np.int64)  # in order of admission
    put_back = np.zeros(len(request), np.int64)
    leaving = np.zeros((2, m.sequences), np.int64)
    now = 0.0
    finished = 0
    composed = 0  # the step that runs, and the one behind it
    while finished < len(request):
        while state.arrived < len(request) and arrival[state.arrived] <= now:
            state.arrived += 1
        while composed < 2:
            step = steps[composed]
            step.decoding = step.context = step.reading = step.leaving = 0
            behind = leaving[composed]
            of_all = (m, state, request, running, put_back, step, behind)
            _admit(*of_all, _compose_running(*of_all, m.batched_tokens))
            composed += 1
        step = steps[0]
        if step.decoding + step.reading > 0:
            time = max(m.step_floor, m.token_time * (step.decoding + step.reading))
            time += m.step_overhead + m.context_time * step.context
            now += max(m.prefill_overhead, time) if step.reading > 0 else time
            for i in range(step.leaving):
                _finish(state, request, running, leaving[0, i], now)
            finished += step.leaving
        elif steps[1].decoding + steps[1].reading == 0 and state.arrived < len(request):
            now = arrival[state.arrived]
        steps[0] = steps[1]
        leaving[0] = leaving[1]
        composed = 1 if steps[0].decoding + steps[0].reading > 0 else 0


def run_step_by_step(model: EngineModel, load: Load) -> NDArray[np.float64]:
    """Returns when each request finishes (s)."""
    arrival, prompts, outputs = load
    request = np.zeros(len(arrival), REQUEST)
    request["prompt"] = prompts
    request["output"] = outputs
    step_by_step(engine_settings([model]), np.zeros(1, STATE), request, np.zeros(2, STEP), arrival)
    return request["finish"]


def report(rounds: int) -> None:
    model, load = server(), workload()

    def compiled_twin() -> int:
        run_step_by_step(model, load)
        return REQUESTS

    def engine() -> int:
        for _ in range(20):
            simulate_engine(model, *load)
        return 20 * REQUESTS

    truth = simulate_engine(model, *load)
    requests = [
        Request(i, *map(float, row[:1]), *map(int, row[1:]))
        for i, row in enumerate(zip(*load, strict=True))
    ]
    started = time.perf_counter()
    run_twin(model, requests)
    python_rate = REQUESTS / (time.perf_counter() - started)
    for finish in ([r.finish for r in requests], run_step_by_step(model, load)):
        np.testing.assert_allclose(finish, truth.finish, rtol=0, atol=1e-9)
    rates = best_rates({"engine": engine, "compiled twin": compiled_twin}, rounds)
    rows = [
        (name, f"{rate:,.0f}", f"{rates['engine'] / rate:,.1f}", goal)
        for name, rate, goal in (
            ("engine, event to event", rates["engine"], ""),
            ("every step, compiled", rates["compiled twin"], f">= {COMPILED_TWIN_GOAL}"),
            ("every step, Python", python_rate, f">= {PYTHON_TWIN_GOAL:,}"),
        )
    ]
    title = f"An engine with 256 sequences and a full cache ({truth.preemptions.sum()} preemptions)"
    print_table(title, ("", "requests/s", "engine is x times", "goal"), rows)
