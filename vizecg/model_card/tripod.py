"""What a study of a prediction model should report, and where this card does.

The items are those of TRIPOD+AI (Collins et al., BMJ 2024;385:e078378), in our own words. What nobody has reported
is said to be so: a gap that can be seen can be filled.
"""

from dataclasses import dataclass
from typing import Final

NOT_REPORTED: Final = "not reported"


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What this card has that not every card has."""

    slices: bool
    calibration: bool
    ptbxl: bool
    pages_read: bool
    """How many pages the intake refused is known."""


def checklist(told: Told) -> str:
    """One row an item, as a table of Markdown."""
    rows = "\n".join(f"| {item} | {asks} | {where} |" for item, asks, where in _items(told))
    return f"""## TRIPOD+AI

Where each item of the checklist (Collins et al., BMJ 2024;385:e078378) is answered. It was filled in by the program \
that wrote this card: whoever publishes a study with this model answers what is left.

| item | what it asks | where |
|---|---|---|
{rows}"""


def _items(told: Told) -> list[tuple[str, str, str]]:
    slices = "Parts of the records" if told.slices else NOT_REPORTED
    calibration = "Calibration" if told.calibration else "How its answer is read"
    ptbxl = "Limits; the publication of PTB-XL" if told.ptbxl else NOT_REPORTED
    refused = "How its answer is read" if told.pages_read else NOT_REPORTED
    return [
        ("1", "title: a prediction model, its outcome and population", "the title, What it is for"),
        ("2", "abstract", "What it is for, How good it is"),
        ("3a", "why the model is needed", "What it is for"),
        ("3b", "whom it is for, and at what point of care", "What it is for: research only"),
        ("3c", "known inequalities between groups", NOT_REPORTED),
        ("4", "aim: development, evaluation or both", "What it is for, Data"),
        ("5a", "where the data come from", "Data"),
        ("5b", "when they were recorded", ptbxl),
        ("6a", "setting and centres", ptbxl),
        ("6b", "who was eligible", "Data"),
        ("6c", "treatments that were given", NOT_REPORTED),
        ("7", "how data were prepared", "What it is for, Data"),
        ("8a", "what is predicted, and how it was determined", "Data"),
        ("8b", "who determined it", ptbxl),
        ("8c", "whether they were blinded", NOT_REPORTED),
        ("9a", "which predictors were chosen, and why", "What it is for: the picture alone"),
        ("9b", "how predictors are measured", "What it is for"),
        ("9c", "who interpreted them", "nobody: a program reads the picture"),
        ("10", "how the sample size was arrived at", NOT_REPORTED),
        ("11", "missing data", "Data"),
        ("12a", "how data were divided", "Data"),
        ("12b", "how predictors enter the model", "What it is for"),
        ("12c", "kind of model, how it was built and checked", "Where it comes from"),
        ("12d", "differences between centres and groups", slices),
        ("12e", "measures of performance", "How good it is"),
        ("12f", "recalibration or other updating", calibration),
        ("12g", "how a prediction is calculated", "model.onnx and operating_point.json of the bundle"),
        ("13", "rare classes", "How its answer is read"),
        ("14", "fairness", slices),
        ("15", "output, and how thresholds were chosen", "How its answer is read"),
        ("16", "differences between training and evaluation data", "Data"),
        ("17", "ethical approval", NOT_REPORTED),
        ("18a", "funding", NOT_REPORTED),
        ("18b", "conflicts of interest", NOT_REPORTED),
        ("18c", "protocol", NOT_REPORTED),
        ("18d", "registration", NOT_REPORTED),
        ("18e", "whether data are shared", "PTB-XL is open to all" if told.ptbxl else NOT_REPORTED),
        ("18f", "whether code is shared", "the project that wrote this bundle, under Apache-2.0"),
        ("19", "involvement of patients and the public", NOT_REPORTED),
        ("20a", "how many took part, with and without the outcome", "How good it is"),
        ("20b", "their characteristics", NOT_REPORTED),
        ("20c", "how those of training and evaluation compare", NOT_REPORTED),
        ("21", "numbers in each analysis", "Data, How good it is"),
        ("22", "the full model", "model.onnx and model.safetensors of the bundle"),
        ("23a", "performance with intervals", "How good it is"),
        ("23b", "performance in groups and centres", slices),
        ("24", "results of updating", "none was done"),
        ("25", "interpretation", "Limits"),
        ("26", "limitations", "Limits"),
        ("27a", "what happens to poor or missing input", refused),
        ("27b", "what users must do and know", NOT_REPORTED),
        ("27c", "what is to be studied next", NOT_REPORTED),
    ]
