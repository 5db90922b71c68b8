"""Models: how they are trained, held against rivals and measured on other people's pages."""

import sys
from pathlib import Path
from typing import Final

import click

from vizecg.cli.options import FILE, FOLDER, OVERRIDES, PAGES, RECORDS


@click.command()
@OVERRIDES
@click.option("--no-promote", is_flag=True, help="Stop after registering.")
@click.option("--stage", "stages", multiple=True, help="Only this stage; may be given again. Default: all.")
def retrain(overrides: tuple[str, ...], no_promote: bool, stages: tuple[str, ...]) -> None:
    """Run the pipeline as a Prefect flow in this folder: what has not changed is skipped."""
    from vizecg.environment import enter
    from vizecg.settings import Settings

    enter(Settings())  # Prefect reads its home when it is imported
    from flows.retrain import retrain_here

    sys.exit(retrain_here(overrides=overrides, promote=not no_promote, stages=stages))


@click.command("recipe")
@click.argument("recipe", metavar="FILE", type=FILE)
@click.option(
    "--data",
    default="simulated",
    show_default=True,
    help="Or physionet, an https:// or s3:// address, a folder or an archive.",
)
def run_recipe_file(recipe: Path, data: str) -> None:
    """Run a FILE of recipes/: parameters other than those of params.yaml, in a clone."""
    from vizecg.recipe_runs import run_recipe

    sys.exit(run_recipe(recipe, data=data))


@click.command()
@click.argument("out", type=FILE)
@click.option("--records", type=click.IntRange(10, 99_999), default=3000, show_default=True)
@click.option("--seed", type=click.IntRange(min=0), default=11, show_default=True)
@click.option("--copies", type=click.IntRange(1, 16), default=2, show_default=True, help="Pages of each record.")
@click.option("--epochs", type=click.IntRange(min=1), default=10, show_default=True)
def pretrain(out: Path, records: int, seed: int, copies: int, epochs: int) -> None:
    """Write first weights, learned from simulated records, into OUT: those of params.yaml's network."""
    from vizecg.first_weights import pretrain_and_write
    from vizecg.process import die_with_parent
    from vizecg.recipe import PretrainingParams

    die_with_parent()
    pretrain_and_write(out, PretrainingParams(records=records, seed=seed, copies=copies, epochs=epochs))


@click.command()
@click.option(
    "--contender", "contenders", multiple=True, help="One of section compare; may be given again. Default: all."
)
@RECORDS
@PAGES
@click.option("--out", type=FOLDER, default=Path("reports/comparison"), show_default=True)
@click.option("--flow", is_flag=True, help="As a Prefect flow in this folder, a task for every contender.")
@click.option("--train-only", is_flag=True, help="Train and keep the answers; compare nothing yet.")
def compare(contenders: tuple[str, ...], records: Path, pages: Path, out: Path, flow: bool, train_only: bool) -> None:
    """Train VizECGNet and its rivals out of fold, and hold them against each other.

    Numbers come from section `compare` of params.yaml. What was trained is kept beside OUT,
    so a comparison that was cut off goes on where it was.
    """
    from vizecg.environment import enter
    from vizecg.settings import Settings

    if flow:
        enter(Settings())  # Prefect reads its home when it is imported
        from flows.compare import compare_here

        sys.exit(compare_here(contenders=contenders))
    from vizecg.comparison_files import compare_and_write

    compare_and_write(contenders, records=records, pages=pages, out=out, train_only=train_only)


@click.command("evaluate")
@click.option("--images", type=click.Path(path_type=Path, file_okay=False, exists=True), required=True)
@click.option("--labels", type=FILE, help="Default: labels.csv in the folder of images.")
@click.option("--label-map", type=FILE, help="Default: label_map.csv beside the images, if there is one.")
@click.option("--bundle", type=FOLDER, required=True, help="The model to measure.")
@click.option("--out", type=FOLDER, default=Path("reports/external"), show_default=True)
@click.option("--threads", type=click.IntRange(min=1), default=2, show_default=True)
def evaluate_images(
    images: Path, labels: Path | None, label_map: Path | None, bundle: Path, out: Path, threads: int
) -> None:
    """Measure a bundle on a folder of page images with a table of labels: an external validation."""
    from vizecg.external import evaluate_images as evaluate
    from vizecg.paper import LABELS_NAME

    table = labels or images / LABELS_NAME
    found = evaluate(images, labels=table, label_map=label_map, bundle=bundle, out=out, threads=threads)
    pages, macro = found["pages"], found["macro"]
    said = "not defined" if macro["auroc"] is None else f"{macro['auroc']:.3f}"
    between = "" if macro["auroc_low"] is None else f" ({macro['auroc_low']:.3f} to {macro['auroc_high']:.3f})"
    click.echo(
        f"evaluate: {pages['listed']} pages, {pages['reject']} rejected, {pages['unreadable']} unreadable; "
        f"macro AUROC {said}{between} on {found['records']} pages; read {out / 'index.html'}"
    )


# Not `evaluate_images`: the group finds it by its option, for the verb is a step's too.
COMMANDS: Final = (retrain, run_recipe_file, pretrain, compare)
