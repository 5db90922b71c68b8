"""What analysts look at: tables for `dvc plots`, figures for MLflow, and one page that tells it all.

From labels and probabilities alone, but for the mistakes drawn as pages, which are of public or simulated records.
"""

from vizecg.report.beside import SLICES_FILE, Slice, read_slices
from vizecg.report.curves import reliability, write_tables
from vizecg.report.figures import write_figures
from vizecg.report.mistakes import Mistakes, worst_mistakes
from vizecg.report.page import PAGE_FILE, Subject, write_page
from vizecg.report.scored import Line, Scored

__all__ = [
    "PAGE_FILE",
    "SLICES_FILE",
    "Line",
    "Mistakes",
    "Scored",
    "Slice",
    "Subject",
    "read_slices",
    "reliability",
    "worst_mistakes",
    "write_figures",
    "write_page",
    "write_tables",
]
