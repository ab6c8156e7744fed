from .agreement import Agreement
from .compare import compare
from .engines import ENGINES, Engine
from .ratios import Interval, Ratio
from .report import render_report
from .result import Measurement, Result, Row

__all__ = [
    "ENGINES",
    "Agreement",
    "Engine",
    "Interval",
    "Measurement",
    "Ratio",
    "Result",
    "Row",
    "compare",
    "render_report",
]
