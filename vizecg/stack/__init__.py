"""A team's platform on one machine without containers: the programs of docker/compose.yaml as processes on loopback.

PostgreSQL, an S3 store, MLflow, Prefect, a worker and the service, each started when what it
needs answers, started again when it ends by itself, and stopped in reverse order.
"""

from vizecg.stack.backup import back_up
from vizecg.stack.keeper import run_stack
from vizecg.stack.remote import restart, run_in_stack, show_status

__all__ = ["back_up", "restart", "run_in_stack", "run_stack", "show_status"]
