"""What the service was sent and what came of it, held against what the evaluation saw."""

from vizecg.monitoring.settings import MonitorSettings
from vizecg.monitoring.watch import Report

__all__ = ["MonitorSettings", "Report"]
