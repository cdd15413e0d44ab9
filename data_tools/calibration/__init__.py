"""Engine models from logs of real servers."""

from data_tools.calibration.calibrate import Calibration, Judgement, calibrate
from data_tools.calibration.logs import Log, read_log
from data_tools.calibration.sweep import read_sweep

__all__ = ["Calibration", "Judgement", "Log", "calibrate", "read_log", "read_sweep"]
