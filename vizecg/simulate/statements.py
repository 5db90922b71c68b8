"""The rows of `scp_statements.csv` for every code that simulated records carry."""

from typing import Final, NamedTuple


class Statement(NamedTuple):
    """One SCP-ECG statement; `diagnostic_class` and `subclass` are empty unless it is diagnostic."""

    code: str
    description: str
    kind: str
    diagnostic_class: str = ""
    subclass: str = ""
    is_form_too: bool = False


COLUMNS: Final = (
    "",
    "description",
    "diagnostic",
    "form",
    "rhythm",
    "diagnostic_class",
    "diagnostic_subclass",
    "Statement Category",
    "SCP-ECG Statement Description",
    "AHA code",
    "aECG REFID",
    "CDISC Code",
    "DICOM Code",
)

STATEMENTS: Final = (
    Statement("NORM", "normal ECG", "diagnostic", "NORM", "NORM"),
    Statement("IMI", "inferior myocardial infarction", "diagnostic", "MI", "IMI"),
    Statement("ILMI", "inferolateral myocardial infarction", "diagnostic", "MI", "IMI"),
    Statement("AMI", "anterior myocardial infarction", "diagnostic", "MI", "AMI"),
    Statement("ASMI", "anteroseptal myocardial infarction", "diagnostic", "MI", "AMI"),
    Statement("ALMI", "anterolateral myocardial infarction", "diagnostic", "MI", "AMI"),
    Statement("LMI", "lateral myocardial infarction", "diagnostic", "MI", "LMI"),
    Statement("NDT", "non-diagnostic T abnormalities", "diagnostic", "STTC", "STTC", is_form_too=True),
    Statement("NST_", "non-specific ST changes", "diagnostic", "STTC", "NST_", is_form_too=True),
    Statement("DIG", "digitalis-effect", "diagnostic", "STTC", "STTC", is_form_too=True),
    Statement("LNGQT", "long QT-interval", "diagnostic", "STTC", "STTC", is_form_too=True),
    Statement("ISC_", "non-specific ischemic", "diagnostic", "STTC", "ISC_"),
    Statement("ISCAL", "ischemic in anterolateral leads", "diagnostic", "STTC", "ISCA"),
    Statement("ISCAS", "ischemic in anteroseptal leads", "diagnostic", "STTC", "ISCA"),
    Statement("ISCLA", "ischemic in lateral leads", "diagnostic", "STTC", "ISCA"),
    Statement("ISCIN", "ischemic in inferior leads", "diagnostic", "STTC", "ISCI"),
    Statement("ISCIL", "ischemic in inferolateral leads", "diagnostic", "STTC", "ISCI"),
    Statement("LAFB", "left anterior fascicular block", "diagnostic", "CD", "LAFB/LPFB"),
    Statement("LPFB", "left posterior fascicular block", "diagnostic", "CD", "LAFB/LPFB"),
    Statement("CLBBB", "complete left bundle branch block", "diagnostic", "CD", "CLBBB"),
    Statement("ILBBB", "incomplete left bundle branch block", "diagnostic", "CD", "ILBBB"),
    Statement("CRBBB", "complete right bundle branch block", "diagnostic", "CD", "CRBBB"),
    Statement("IRBBB", "incomplete right bundle branch block", "diagnostic", "CD", "IRBBB"),
    Statement("IVCD", "non-specific intraventricular conduction disturbance (block)", "diagnostic", "CD", "IVCD"),
    Statement("1AVB", "first degree AV block", "diagnostic", "CD", "_AVB"),
    Statement("WPW", "Wolff-Parkinson-White syndrome", "diagnostic", "CD", "WPW"),
    Statement("LVH", "left ventricular hypertrophy", "diagnostic", "HYP", "LVH"),
    Statement("RVH", "right ventricular hypertrophy", "diagnostic", "HYP", "RVH"),
    Statement("SEHYP", "septal hypertrophy", "diagnostic", "HYP", "SEHYP"),
    Statement("LAO/LAE", "left atrial overload/enlargement", "diagnostic", "HYP", "LAO/LAE"),
    Statement("RAO/RAE", "right atrial overload/enlargement", "diagnostic", "HYP", "RAO/RAE"),
    Statement("ABQRS", "abnormal QRS", "form"),
    Statement("QWAVE", "Q waves present", "form"),
    Statement("LOWT", "low amplitude T-waves", "form"),
    Statement("STD_", "non-specific ST depression", "form"),
    Statement("INVT", "inverted T-waves", "form"),
    Statement("VCLVH", "voltage criteria (QRS) for left ventricular hypertrophy", "form"),
    Statement("LPR", "prolonged PR interval", "form"),
    Statement("SR", "sinus rhythm", "rhythm"),
    Statement("SBRAD", "sinus bradycardia", "rhythm"),
    Statement("STACH", "sinus tachycardia", "rhythm"),
    Statement("SARRH", "sinus arrhythmia", "rhythm"),
    Statement("AFIB", "atrial fibrillation", "rhythm"),
)

DESCRIPTIONS: Final = {statement.code: statement.description for statement in STATEMENTS}


def row(statement: Statement) -> tuple[str, ...]:
    """One row under `COLUMNS`; codes of other vocabularies stay empty, the pipeline reads none."""
    marks = [
        "1.0" if statement.kind == kind or (kind == "form" and statement.is_form_too) else ""
        for kind in ("diagnostic", "form", "rhythm")
    ]
    return (
        statement.code,
        statement.description,
        *marks,
        statement.diagnostic_class,
        statement.subclass,
        "",
        statement.description,
        *[""] * 4,
    )
