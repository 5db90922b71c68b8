"""Options that commands of several rooms take."""

from pathlib import Path
from typing import Final

import click

FILE: Final = click.Path(path_type=Path, dir_okay=False)
FOLDER: Final = click.Path(path_type=Path, file_okay=False)
OVERRIDES: Final = click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="SECTION.NAME=VALUE",
    help="Change a parameter first; text with special characters goes in double quotes.",
)
RECORDS: Final = click.option("--records", type=FOLDER, default=Path("data/records"), show_default=True)
PAGES: Final = click.option("--pages", type=FOLDER, default=Path("data/pages"), show_default=True)
