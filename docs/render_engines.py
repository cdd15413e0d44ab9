"""Draws each bundled engine model of a log against that log, into docs/assets/engine-NAME.png."""

import argparse
from pathlib import Path

from rebuild_engines import FITTED, LOGS

from data_tools.calibration.calibrate import Calibration
from data_tools.calibration.errors import measured, simulated
from data_tools.calibration.figure import save_figure
from data_tools.calibration.logs import read_log
from edgecloud_gym.engines import load_engine

ASSETS = Path(__file__).resolve().parent / "assets"


def main() -> None:
    """Draws all, or the models that are named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", default=list(FITTED))
    for name in parser.parse_args().names:
        model = load_engine(name)
        logs = [read_log(LOGS / f"{file}.jsonl.gz") for file in FITTED[name][0]]
        pairs = {log.name: (measured(log), simulated(model, log)) for log in logs}
        save_figure(Calibration(model, (), (), pairs), ASSETS / f"engine-{name}.png")


if __name__ == "__main__":
    main()
