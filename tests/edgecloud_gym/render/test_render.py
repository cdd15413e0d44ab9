"""Pictures and texts of a system."""

import importlib
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.error import DependencyNotInstalled
from numpy.typing import NDArray

from edgecloud_gym import ENV_IDS
from edgecloud_gym.arrivals import Trace
from edgecloud_gym.render import Renderer, render_text
from edgecloud_gym.render.geometry import (
    Box,
    count,
    grid,
    nice_ceiling,
    row,
    scale_from_zero,
    seconds,
    ticks,
)
from edgecloud_gym.results.snapshot import SlotView, Snapshot, snapshot
from tests.edgecloud_gym.support import STATIC, dataset_of, make, toy_dataset, wait

pygame = pytest.importorskip("pygame", reason="needs pygame-ce")

SHAPE = (640, 960, 3)
IDLE = SlotView((), 0.0, 0.0, ())

# Edge slots, batch capacity, cloud slots, waiting, candidates at most, completions, time (s).
SHAPES: dict[str, tuple[int, int, int, int, int, int, float]] = {
    "default": (1, 4, 8, 5, 32, 100, 60.0),
    "before anything": (1, 4, 8, 0, 32, 0, 0.0),
    "no edge": (0, 1, 8, 5, 32, 10, 60.0),
    "no cloud": (2, 4, 0, 5, 32, 10, 60.0),
    "one of each": (1, 1, 1, 1, 1, 1, 1e-3),
    "wide batches": (4, 64, 8, 5, 16, 400, 600.0),
    "huge batches": (64, 5000, 8, 5, 16, 400, 600.0),
    "one huge batch": (1, 100_000, 8, 5, 16, 400, 600.0),
    "many batches": (64, 16, 64, 2000, 64, 400, 700.0),
    "too many to paint": (500, 8, 700, 3, 32, 400, 60.0),
    "thousands": (3000, 1, 5000, 1_000_000, 2000, 400, 123_456.7),
    "ended at once": (1, 4, 8, 0, 32, 800, 10.0),
}


def slots(number: int, capacity: int, first: int = 0) -> tuple[SlotView, ...]:
    """Slots that hold from none to all they can, at every stage of their work."""
    views = []
    for i in range(number):
        members = tuple(
            range(first + i * capacity, first + i * capacity + i % (min(capacity, 99) + 2))
        )
        shares = tuple(np.linspace(1.0, 0.2, len(members)).tolist())
        views.append(SlotView(members, 123.4 * i, i / number, shares) if members else IDLE)
    return tuple(views)


def view_of(name: str, continuous: bool = False) -> Snapshot:
    """A snapshot of one of `SHAPES`."""
    edge, capacity, cloud, waiting, pool, done, time = SHAPES[name]
    shown = min(waiting, pool)
    latest = min(done, 400)
    rng = np.random.default_rng(0)
    every = 0.0 if name == "ended at once" else 0.01
    return Snapshot(
        time=time,
        duration=600.0,
        continuous=continuous,
        batch_capacity=1 if continuous else capacity,
        queue_length=waiting,
        pool_size=pool,
        candidates=tuple(range(10**6, 10**6 + shown)),
        ages=tuple(np.linspace(time, 0.0, shown).tolist()),
        edge=slots(edge, 1 if continuous else capacity),
        cloud=slots(cloud, 1, first=10**5),
        completed=done,
        arrived=10**6 + waiting,
        offloaded=123_456,
        mean_jct=1234.5 if done else float("nan"),
        finish_times=time - every * np.arange(latest)[::-1],
        jcts=rng.lognormal(1.0, 2.0, latest),
        on_cloud=rng.random(latest) < 0.5,
    )


def pixels(view: Snapshot) -> NDArray[np.uint8]:
    frame = Renderer("rgb_array", 15).draw(view)
    assert frame is not None
    return frame


@pytest.fixture
def window(monkeypatch: pytest.MonkeyPatch) -> Iterator[Renderer]:
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    renderer = Renderer("human", fps=1000)
    yield renderer
    renderer.close()


# --- Text


@pytest.mark.parametrize("continuous", [False, True])
@pytest.mark.parametrize("name", SHAPES)
def test_text_fits_a_terminal(name: str, continuous: bool) -> None:
    text = render_text(view_of(name, continuous))
    lines = text.split("\n")
    assert text.isascii()
    assert max(map(len, lines)) <= 80
    assert len(lines) <= 30
    assert all(line == line.rstrip() for line in lines)


def test_text_says_what_there_is() -> None:
    view = Snapshot(
        time=12.3,
        duration=600.0,
        continuous=False,
        batch_capacity=4,
        queue_length=3,
        pool_size=2,
        candidates=(13, 14),
        ages=(1.5, 0.25),
        edge=(SlotView((8, 9, 11), 2.0, 0.5, (1.0, 0.5, 0.25)),),
        cloud=(IDLE, SlotView((12,), 1.0, 0.25, (1.0,))),
        completed=9,
        arrived=16,
        offloaded=5,
        mean_jct=3.456,
        finish_times=np.array([11.0, 12.0]),
        jcts=np.array([2.0, 4.0]),
        on_cloud=np.array([False, True]),
    )
    assert render_text(view) == "\n".join(
        [
            "Static batching                                                      time 12.3 s",
            "[#...............................................]          arrivals until 600 s",
            "arrived 16      waiting 3       running 4       done 9          offloaded 5",
            "",
            "queue  3 waiting, the longest of the candidates for 1.50 s",
            "       13 14",
            "edge   1 of 1 batches running",
            "         1  [######......]   2.00 s  3/4  8 9 11",
            "cloud  1 of 2 requests running",
            "         1  idle                             2  [###.........]   1.00 s  12",
            "JCT    mean 3.46 s    lately on the edge 2.00 s    lately on the cloud 4.00 s",
        ]
    )


# --- Pictures


@pytest.mark.parametrize("continuous", [False, True])
@pytest.mark.parametrize("name", SHAPES)
def test_picture_stays_within_its_panels(name: str, continuous: bool) -> None:
    frame = pixels(view_of(name, continuous))
    assert (frame.shape, frame.dtype) == (SHAPE, np.uint8)
    background = frame[0, 0]
    # The margins, and the gaps between header, queue, edge, cloud and chart.
    for gap in (
        frame[:, :15],
        frame[:, 945:],
        frame[82:94],
        frame[410:422],
        frame[626:],
        frame[96:408, 242:254],
        frame[96:408, 634:646],
    ):
        assert (gap == background).all()


def test_picture_depends_on_nothing_but_the_snapshot() -> None:
    np.testing.assert_array_equal(pixels(view_of("default")), pixels(view_of("default")))


def test_absent_side_is_left_empty() -> None:
    # Between the title and the word "none", the card is white.
    assert (pixels(view_of("no edge"))[140:200, 270:618] == 255).all()
    assert (pixels(view_of("no cloud"))[140:200, 662:930] == 255).all()


def test_frames_are_the_callers_own() -> None:
    renderer = Renderer("rgb_array", 15)
    first = renderer.draw(view_of("default"))
    assert first is not None
    kept = first.copy()
    renderer.draw(view_of("many batches"))
    np.testing.assert_array_equal(first, kept)
    assert first.flags.owndata
    assert first.flags.writeable


def test_age_scale_grows_within_an_episode_only() -> None:
    renderer = Renderer("rgb_array", 15)
    young = view_of("one of each")
    before = renderer.draw(young)
    renderer.draw(view_of("default"))
    np.testing.assert_raises(
        AssertionError, np.testing.assert_array_equal, renderer.draw(young), before
    )
    renderer.reset()
    np.testing.assert_array_equal(renderer.draw(young), before)


def test_no_display_is_touched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SDL_VIDEODRIVER", raising=False)
    monkeypatch.delenv("DISPLAY", raising=False)
    renderer = Renderer("rgb_array", 15)
    renderer.draw(view_of("default"))
    assert not pygame.display.get_init()
    renderer.close()


def test_unknown_mode_is_refused() -> None:
    with pytest.raises(ValueError, match="mode='ansi'"):
        Renderer("ansi", 15)


def test_without_pygame_text_works_and_pictures_say_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "pygame", None)
    for name in [name for name in sys.modules if name.startswith("edgecloud_gym.render")]:
        monkeypatch.delitem(sys.modules, name)
    module = importlib.import_module("edgecloud_gym.render")
    assert module.render_text(view_of("default")).startswith("Static batching")
    with pytest.raises(DependencyNotInstalled, match=r'pip install "edgecloud-gym\[render\]"'):
        module.Renderer("rgb_array", 15)


def test_nothing_is_printed() -> None:
    code = "from edgecloud_gym.render import Renderer; Renderer('rgb_array', 15)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == ""


# --- The window


def test_window_shows_the_picture(window: Renderer) -> None:
    view = view_of("default")
    assert window.draw(view) is None
    shown = pygame.surfarray.array3d(pygame.display.get_surface()).swapaxes(0, 1)
    np.testing.assert_array_equal(shown, pixels(view))


def test_window_that_the_user_closed_stays_closed(window: Renderer) -> None:
    view = view_of("default")
    window.draw(view)
    pygame.event.post(pygame.event.Event(pygame.QUIT))
    for _ in range(2):
        assert window.draw(view) is None
        assert not pygame.display.get_init()
    window.close()


def test_pictures_go_on_after_a_window_was_closed(window: Renderer) -> None:
    view = view_of("default")
    other = Renderer("rgb_array", 15)
    before = other.draw(view)
    window.draw(view)
    window.close()
    np.testing.assert_array_equal(other.draw(view), before)


# --- The environments


@pytest.mark.parametrize("env_id", ENV_IDS)
def test_every_environment_renders(env_id: str) -> None:
    # As RecordVideo does: a frame after reset and after every step.
    env = gym.wrappers.RenderCollection(
        gym.make(env_id, dataset=toy_dataset(), duration=5.0, render_mode="rgb_array")
    )
    observation, info = env.reset(seed=0)
    for _ in range(5):
        observation, _, terminated, truncated, info = env.step(wait(observation, info))
        assert not terminated
        assert not truncated
    frames: Any = env.render()
    env.close()
    assert len(frames) == 6
    assert all(frame.shape == SHAPE and frame.dtype == np.uint8 for frame in frames)
    assert len({frame.tobytes() for frame in frames}) == 6


def test_snapshot_shows_each_share_of_a_batch() -> None:
    """Three requests at 0 s and one at 2 s: a batch of two on the edge, two on the cloud."""
    env = make(
        STATIC,
        dataset=dataset_of([4.0, 1.0, 2.0, 8.0]),
        prompt_order="sequential",
        arrivals=Trace([0.0, 0.0, 0.0, 2.0]),
        observe="id",
        edge_batch_capacity=2,
        cloud_concurrency=2,
        cloud_time_multiplier=2.0,
        network_rtt=0.0,
    )
    env.reset(seed=0)
    env.step(np.zeros(env.action_space.shape, np.int64))
    view = snapshot(env.simulator, 0)
    assert view.time == 2.0
    assert view.edge == (SlotView((0, 1), 2.0, 0.5, (1.0, 0.25)),)
    assert view.cloud == (SlotView((2,), 2.0, 0.5, (1.0,)), IDLE)
    assert (view.candidates, view.ages, view.pool_size) == ((3,), (0.0,), 32)
    assert (view.arrived, view.queue_length, view.running, view.offloaded) == (4, 1, 3, 1)
    assert np.isnan(view.mean_jct)
    env.step(np.zeros(env.action_space.shape, np.int64))
    view = snapshot(env.simulator, 0)
    # The last request runs on the cloud, from 2 s to 18 s.
    assert view.completed == 4
    assert view.mean_jct == (4.0 + 4.0 + 4.0 + 16.0) / 4
    assert view.finish_times[-1] == 18.0
    assert view.on_cloud.tolist().count(True) == 2


# --- Layout


@pytest.mark.parametrize("number", [1, 2, 7, 8, 64, 150])
def test_grid_lies_within_its_area_without_overlaps(number: int) -> None:
    area = Box(10, 20, 280, 250)
    boxes = grid(area, number, aspect=4.0, largest=(280, 64), gap=3)
    covered = np.zeros((400, 400), np.int64)
    for box in boxes:
        assert box.w >= 1
        assert box.h >= 1
        covered[box.y : box.bottom, box.x : box.right] += 1
    assert len(boxes) == number
    assert covered.max() == 1
    assert covered[area.y : area.bottom, area.x : area.right].sum() == covered.sum()


def test_row_fills_its_area() -> None:
    boxes = row(Box(5, 0, 100, 10), 7, gap=2)
    assert (boxes[0].x, boxes[-1].right) == (5, 105)
    assert {box.w for box in boxes} <= {12, 13}


def test_axes_have_round_numbers() -> None:
    assert [nice_ceiling(value) for value in (0.02, 1.1, 5.0, 5.1)] == [0.02, 2.0, 5.0, 10.0]
    assert ticks(121.0, 187.0, 8) == [130.0, 140.0, 150.0, 160.0, 170.0, 180.0]
    assert scale_from_zero(11.9, 4) == [0.0, 5.0, 10.0, 15.0]


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0"), (99_999, "99,999"), (999_999, "999 k"), (1_234_567, "1.2 M")]
)
def test_counts_are_short(number: int, text: str) -> None:
    assert count(number) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0.00 s"),
        (9.994, "9.99 s"),
        (9.996, "10.0 s"),
        (99.96, "100 s"),
        (1234.5, "1,234 s"),
        (float("nan"), "-"),
    ],
)
def test_seconds_have_three_digits(value: float, text: str) -> None:
    assert seconds(value) == text
