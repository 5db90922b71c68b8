"""Where the monitor finds what the service writes, and whom it tells: environment variables, as the service's."""

from pathlib import Path

from pydantic import Field, SecretStr

from vizecg.settings import Settings


class MonitorSettings(Settings):
    """Read once; handed on as an argument."""

    audit_dir: Path | None = Field(default=None, description="folder of the audit trail; none: audit in state_dir")
    feedback_dir: Path | None = Field(
        default=None, description="where confirmed diagnoses are; none: in the state folder"
    )
    webhook_url: SecretStr | None = Field(
        default=None, description="who is told, by a POST of JSON without anything of a patient; nobody by default"
    )

    @property
    def audit_folder(self) -> Path:
        """The audit trail."""
        return self.audit_dir or self.state_dir / "audit"

    @property
    def feedback_folder(self) -> Path:
        """Confirmed diagnoses, see `vizecg.feedback`."""
        return self.feedback_dir or self.state_dir / "feedback"

    @property
    def monitor_folder(self) -> Path:
        """What the monitor remembers, and the windows that were accepted."""
        return self.state_dir / "monitor"
