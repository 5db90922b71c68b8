"""Make the bundle of the trained and scored model, and register it in MLflow."""

from pathlib import Path

from pydantic import Field

from vizecg.config import Section


class Params(Section):
    """Section `register` of params.yaml."""

    goldens: int = Field(default=4, ge=1, le=8)
    gray_tolerance: float = Field(default=2.0, gt=0, description="mean absolute difference of the input, of 255")
    logit_tolerance: float = Field(default=1e-3, gt=0)
    probability_tolerance: float = Field(default=0.02, gt=0, lt=1)


def run(params: Params, *, model_run: Path, evaluation: Path, bundle: Path) -> None:
    """Read the model run and its evaluation, publish the bundle, make sure that MLflow knows it; no alias is set."""
    from vizecg import bundle as bundles
    from vizecg import bundling, publish
    from vizecg.settings import Settings
    from vizecg.tracking import ensure_registered

    tolerance = bundles.GoldenTolerance(
        gray_levels=params.gray_tolerance,
        logits=params.logit_tolerance,
        probabilities=params.probability_tolerance,
    )
    with publish.publishing(bundle, kind=bundles.BUNDLE, schema_version=bundles.SCHEMA_VERSION) as staging:
        sources = bundling.build(
            staging, model_run=model_run, evaluation=evaluation, goldens=params.goldens, tolerance=tolerance
        )
        bundling.check_torch_agrees(staging, description=sources.description, tolerance=tolerance)
    registered = ensure_registered(bundle, settings=Settings(), model_run=model_run, evaluation=evaluation)
    state = "registered as" if registered.created else "already registered as"
    print(f"register: bundle {bundles.read(bundle)[0][:12]}, {state} {registered.name} version {registered.version}")
