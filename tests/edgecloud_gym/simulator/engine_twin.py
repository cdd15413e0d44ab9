"""An engine as plain as can be: two queues, one budget, one step at a time. Slow and obvious.

It knows the rules of a server with continuous batching and nothing of how the package does it:
every step is composed request by request, every block of the cache is an entry in a list.
"""

import itertools
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from edgecloud_gym.engines import EngineModel


@dataclass(eq=False)
class Request:
    number: int
    arrival: float
    prompt: int
    output: int
    found: int | None = None  # of its prompt, in the cache already; None: as of all prompts
    cached: int = 0  # tokens in the cache, those of the composed steps included
    answered: int = 0  # tokens of the answer, those of the composed steps included
    to_read: int = 0  # prompt and answer so far, when it was admitted
    blocks: list[object] = field(default_factory=list)  # held, or held until it was preempted
    admitted: float | None = None
    first_token: float | None = None
    finish: float | None = None
    preemptions: int = 0


@dataclass
class Step:
    decoding: list[Request] = field(default_factory=list)
    context: int = 0
    prompt_tokens: int = 0
    answers: list[Request] = field(default_factory=list)  # who gets a token at its end
    last: list[Request] = field(default_factory=list)  # whose last token that is

    def duration(self, m: EngineModel) -> float:
        batches = [len(self.decoding) + self.prompt_tokens]
        if self.decoding and self.prompt_tokens and not m.mixed_batches:
            batches = [len(self.decoding), self.prompt_tokens]
        time = m.step_overhead + sum(computing(m, batch) for batch in batches)
        time += m.context_time * self.context
        return max(m.prefill_overhead, time) if self.prompt_tokens else time


def computing(m: EngineModel, tokens: int) -> float:
    curve = m.step_times
    if curve is None:
        return max(m.step_floor, m.token_time * tokens)
    if tokens <= curve[0][0]:
        return curve[0][1]
    inside = [(a, b) for a, b in itertools.pairwise(curve) if a[0] < tokens <= b[0]]
    (x, y), (x2, y2) = inside[0] if inside else curve[-2:]
    return y + (y2 - y) / (x2 - x) * (tokens - x)


class Twin:
    def __init__(self, m: EngineModel) -> None:
        self.m = m
        self.now = 0.0
        self.waiting: deque[Request] = deque()
        self.running: list[Request] = []
        # Free blocks of the cache, the next to be taken first; each is an object of its own.
        self.free = deque(object() for _ in range(m.blocks or 0))
        self.preempted_now = False

    def take(self, request: Request, tokens: int) -> bool:
        """Gives a request the blocks for so many more tokens, or none if they are lacking."""
        if self.m.blocks is None:
            return True
        need = -(-(request.cached + tokens) // self.m.block_size) - len(request.blocks)
        if need > len(self.free):
            return False
        for _ in range(need):
            self.free.popleft()
            request.blocks.append(object())  # a new one: what the block held is lost
        return True

    def give_back(self, request: Request) -> None:
        self.free.extend(reversed(request.blocks))  # a sequence's tail is taken before its head

    def preempt_youngest(self) -> Request:
        request = self.running.pop()
        self.give_back(request)
        request.preemptions += 1
        self.preempted_now = True
        if request.answered < request.output:
            self.waiting.appendleft(request)
        return request

    def compose(self) -> Step:
        step = Step()
        budget = self.m.batched_tokens
        self.preempted_now = False
        for request in list(self.running):
            if request not in self.running or request.answered == request.output:
                continue
            reads = request.cached < request.to_read
            tokens = min(request.to_read - request.cached, budget) if reads else 1
            if tokens == 0:
                continue
            while not (fits := self.take(request, tokens)):
                if self.preempt_youngest() is request:
                    break
            if fits:
                budget -= tokens
                self.compute(step, request, tokens, reads)
        while not self.preempted_now and budget and self.waiting:
            if len(self.running) == self.m.sequences:
                break
            tokens = self.admit(self.waiting[0], budget)
            if tokens == 0:
                break
            budget -= tokens
            self.running.append(self.waiting.popleft())
            if self.running[-1].admitted is None:
                self.running[-1].admitted = self.now
            self.compute(step, self.running[-1], tokens, reads=True)
        return step

    def admit(self, request: Request, budget: int) -> int:
        """Gives a waiting request its first blocks; returns how many tokens it computes, or 0."""
        m = self.m
        request.to_read = request.prompt + request.answered
        kept = self.still_readable(request)
        found = m.shared_prefix if request.found is None else request.found
        start = max(kept * m.block_size, min(found, request.prompt - 1))
        tokens = min(request.to_read - start, budget)
        if m.blocks is not None:
            goal = request.to_read if m.reserve_prompt else start + tokens
            if -(-goal // m.block_size) > len(self.free):
                return 0
        request.blocks = request.blocks[:kept]
        for block in request.blocks:
            self.free.remove(block)
        request.cached = start
        assert self.take(request, tokens)
        return tokens

    def still_readable(self, request: Request) -> int:
        """Counts the full blocks, from the head on, that nobody has taken since."""
        kept = 0
        if self.m.prefix_caching and request.preemptions:
            full = request.cached // self.m.block_size
            while kept < full and request.blocks[kept] in self.free:
                kept += 1
        return kept

    def compute(self, step: Step, request: Request, tokens: int, reads: bool) -> None:
        if reads:
            step.prompt_tokens += tokens
        else:
            step.decoding.append(request)
            step.context += request.cached
        request.cached += tokens
        if request.cached >= request.to_read:  # a token of the answer comes out
            request.answered += 1
            step.answers.append(request)
            if request.answered == request.output:
                step.last.append(request)

    def finish(self, step: Step, now: float) -> None:
        for request in step.answers:
            if request.first_token is None:
                request.first_token = now
        for request in step.last:
            request.finish = now
            if request in self.running:  # else it was preempted in the very last moment
                self.running.remove(request)
                self.give_back(request)


def run_twin(
    m: EngineModel, requests: list[Request], pace: Callable[[float], float] = lambda _: 1.0
) -> None:
    """Runs all requests to their end; they are in order of arrival.

    A step takes ``pace`` times as long, of when it begins.
    """
    twin = Twin(m)
    arrivals = deque(requests)
    now = 0.0
    following = Step()
    while arrivals or twin.waiting or twin.running:

        def welcome(now: float) -> None:
            while arrivals and arrivals[0].arrival <= now:
                twin.waiting.append(arrivals.popleft())

        welcome(now)
        twin.now = now
        step = following if following.answers or following.prompt_tokens else twin.compose()
        if not (step.answers or step.prompt_tokens):
            now = arrivals[0].arrival
            continue
        following = twin.compose() if m.lookahead else Step()
        now += step.duration(m) * pace(now)
        twin.finish(step, now)
