"""Records and pages: where records come from, what new data is compared with, how pages look."""

from pathlib import Path
from typing import Final

import click

from vizecg import steps
from vizecg.cli.options import FILE, FOLDER, OVERRIDES

BASELINE_FILE: Final = Path("data/baseline.json")


@click.group()
def source() -> None:
    """Where the records come from."""


@source.command("pin")
@click.option("--to", "pin_file", type=FILE, default=Path("data/source.json"), show_default=True)
@OVERRIDES
def source_pin(pin_file: Path, overrides: tuple[str, ...]) -> None:
    """Write down what `ingest.source` holds now, so that DVC sees when it changes."""
    from vizecg.config import PARAMS_FILE, override, read_params
    from vizecg.sources import write_pin
    from vizecg.steps.ingest import Params

    if overrides:
        override(PARAMS_FILE, overrides, models=steps.params_models())
    params = read_params(PARAMS_FILE, models=steps.params_models())["ingest"]
    assert isinstance(params, Params)  # noqa: S101 (params_models says so)
    for pinned in write_pin(pin_file, params):
        click.echo(f"{pin_file}: {pinned.objects} objects of {pinned.uri}, digest {pinned.digest[:12]}")


@click.group()
def baseline() -> None:
    """The data that new data is compared with."""


@baseline.command("accept")
@click.option("--profile", type=FILE, default=Path("reports/validation/profile.json"), show_default=True)
@click.option("--to", "baseline_file", type=FILE, default=BASELINE_FILE, show_default=True)
def baseline_accept(profile: Path, baseline_file: Path) -> None:
    """Compare from now on with the data that was validated last."""
    from vizecg.validation.baseline import read_profile, write_baseline

    accepted = read_profile(profile)
    write_baseline(baseline_file, accepted)
    click.echo(f"{baseline_file}: {accepted['records']} records of {accepted['source']}, task {accepted['task']}")


@baseline.command("clear")
@click.option("--to", "baseline_file", type=FILE, default=BASELINE_FILE, show_default=True)
def baseline_clear(baseline_file: Path) -> None:
    """Compare with nothing."""
    from vizecg.validation.baseline import write_baseline

    write_baseline(baseline_file, None)
    click.echo(f"{baseline_file}: nothing is accepted")


@click.command()
@click.argument("out", type=FOLDER)
@click.option("--records", type=click.IntRange(min=1), default=1000, show_default=True)
@click.option("--seed", type=click.IntRange(min=0), default=7, show_default=True)
def simulate(out: Path, records: int, seed: int) -> None:
    """Write simulated records in PTB-XL's layout. They have no medical meaning."""
    from vizecg.simulate import write_database

    write_database(out, records=records, seed=seed)
    click.echo(f"{out}: {records} simulated records (seed {seed}); they have no medical meaning")


@click.command()
@click.argument("record", type=click.Path(path_type=Path))
@click.argument("out", type=FILE)
@click.option(
    "--style", default="standard", show_default=True, help="A style of docs/styles.md, or drawn: any of them."
)
@click.option("--dpi", type=click.FloatRange(min=30, max=600), default=200, show_default=True)
@click.option("--text", is_flag=True, help="Print made-up text around the chart; it says nothing about the record.")
@click.option("--photo", is_flag=True, help="Take a picture of the page on a table.")
@click.option("--preset", help="Take another picture: scan, fax, photo, screen, worst.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of all that is left to chance.")
def page(
    record: Path, out: Path, style: str, dpi: float, text: bool, photo: bool, preset: str | None, seed: int
) -> None:
    """Draw a 12-lead WFDB RECORD (its path, with or without .hea) as OUT, a PNG, JPEG or PDF.

    The page has its paper's true size: printed at 100 %, 1 mV is as tall and 1 s as
    long as its style says, 10 mm and 25 mm for the standard.
    """
    from vizecg.printing import Printing, draw_record

    chosen = preset or ("photo" if photo else None)
    draw_record(record, out, printing=Printing(style=style, dots_per_inch=dpi, text=text, preset=chosen, seed=seed))
    click.echo(out)


@click.command()
@click.argument("out", type=FOLDER)
@click.option("--presets", is_flag=True, help="Also write presets/: each style through each camera, before and after.")
@click.option("--record", type=click.Path(path_type=Path), help="Show this 12-lead WFDB record, not a simulated one.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of made-up text and cameras.")
def gallery(out: Path, presets: bool, record: Path | None, seed: int) -> None:
    """Write OUT/styles.md and OUT/gallery/, which show every page style.

    `vizecg gallery docs` makes what the documentation holds. Sheets of your own records are
    pictures of patients' pages: write them where those may be.
    """
    from vizecg.gallery import example_of, simulated_example, write_sheets, write_styles

    example = simulated_example() if record is None else example_of(record)
    for path in write_styles(out, example=example, seed=seed):
        click.echo(path)
    for path in write_sheets(out, example=example, seed=seed) if presets else ():
        click.echo(path)


COMMANDS: Final = (source, baseline, simulate, page, gallery)
