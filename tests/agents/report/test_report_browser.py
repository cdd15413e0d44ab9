"""The HTML page of a results folder, as a browser shows it."""

import json
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from agents import run_experiment
from agents.report.html import render
from agents.report.plots import draw_experiment
from agents.report.results import read_results
from edgecloud_gym import RequestDataset

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",  # the page is ours, and in a container root may be the only user
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1200,1000",
)
# Writes into the page what only a browser knows.
PROBE = """
<script>
addEventListener("load", () => {
  const seen = {
    images: [...document.images].map(image => image.naturalWidth),
    tables: [...document.querySelectorAll("table")].map(table => table.rows.length),
    overflow: document.documentElement.scrollWidth > innerWidth,
    fetched: performance.getEntriesByType("resource").map(entry => entry.name),
  };
  document.body.append(Object.assign(document.createElement("output"),
    {textContent: JSON.stringify(seen)}));
});
</script>
"""


@pytest.fixture(scope="module")
def browser() -> str:
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        pytest.skip(f"no browser: none of {', '.join(NAMES)} is installed")
    return found


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("results")
    data = RequestDataset.from_arrays(base_latency=np.random.default_rng(0).lognormal(size=50))
    settings = {"dataset": data, "observe": "id", "duration": 20.0}
    agents = ["fcfs", "random", "sjf-oracle"]
    result = run_experiment("EdgeCloud-Static-v0", agents, 2, settings, folder)
    draw_experiment(result, folder / "comparison.png")
    return render(read_results(folder), "fcfs")


def visit(browser: str, page: str, folder: Path, *flags: str) -> str:
    """Opens a page in a browser with a new profile; returns what it prints."""
    file = folder / "report.html"
    file.write_text(page, encoding="utf-8")
    command = [browser, *FLAGS, f"--user-data-dir={folder / 'profile'}", *flags, file.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_complete_without_any_other_file(browser: str, page: str, tmp_path: Path) -> None:
    shown = visit(browser, page.replace("</body>", f"{PROBE}</body>"), tmp_path, "--dump-dom")
    (output,) = re.findall("<output>(.*?)</output>", shown)
    seen = json.loads(unescape(output))
    assert len(seen["images"]) == 1
    assert min(seen["images"]) > 1000  # decoded; a broken picture has no width
    assert seen["tables"][0] == 4  # three agents and the head
    assert [name for name in seen["fetched"] if not name.startswith("data:")] == []
    assert not seen["overflow"]


def test_something_is_to_be_seen(browser: str, page: str, tmp_path: Path) -> None:
    picture = tmp_path / "screenshot.png"
    visit(browser, page, tmp_path, f"--screenshot={picture}")
    pixels = imread(picture)[..., :3]
    ink = np.abs(pixels - pixels[0, 0]).max(axis=-1) > 0.1
    assert ink.mean() > 0.02
    # Headings, table, picture: no part of the window is empty.
    assert min(part.any() for part in np.array_split(ink, 5))
