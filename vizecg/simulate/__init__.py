"""Simulated 12-lead records, with and without disease, in PTB-XL's own layout.

The embedded default of every run that has no real records, and benchmarks of
any size. They look like electrocardiograms; they have no medical meaning.
"""

from vizecg.simulate.database import recordings, write_database

__all__ = ["recordings", "write_database"]
