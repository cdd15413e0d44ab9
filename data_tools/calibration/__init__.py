"""Engine models from logs of real servers."""

from data_tools.calibration.calibrate import calibrate
from data_tools.calibration.logs import Log, read_log
from data_tools.calibration.result import Calibration, Judgement
from data_tools.calibration.sweep import MeasuredSteps, read_steps, read_sweep

__all__ = [
    "Calibration",
    "Judgement",
    "Log",
    "MeasuredSteps",
    "calibrate",
    "read_log",
    "read_steps",
    "read_sweep",
]
