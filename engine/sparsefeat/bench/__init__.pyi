from .agreement import Agreement
from .comparison import compare
from .engines import ENGINES, Engine
from .ratios import Interval, Ratio
from .report import render_report
from .result import Measurement, Result, Speed
from .text import COLUMNS, cautions, findings, heading, table

__all__ = [
    "COLUMNS",
    "ENGINES",
    "Agreement",
    "Engine",
    "Interval",
    "Measurement",
    "Ratio",
    "Result",
    "Speed",
    "cautions",
    "compare",
    "findings",
    "heading",
    "render_report",
    "table",
]
