"""The 71 statements of PTB-XL: what each is called, and which classes of which task it belongs to.

Codes, classes and flags as `scp_statements.csv` of PTB-XL 1.0.3 has them (Wagner et
al., PhysioNet 2022), in its order; codes are those of the SCP-ECG standard. The
names are plain words for people.
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """One statement. With a `superclass` and a `subclass` it is diagnostic; some are diagnostic and form at once."""

    code: str
    name: str
    superclass: str | None = None
    subclass: str | None = None
    form: bool = False
    rhythm: bool = False

    @property
    def diagnostic(self) -> bool:
        """Whether it names a disease, or its absence."""
        return self.superclass is not None


STATEMENTS: Final[tuple[Statement, ...]] = (
    Statement(code="NDT", name="non-diagnostic T wave changes", superclass="STTC", subclass="STTC", form=True),
    Statement(code="NST_", name="non-specific ST changes", superclass="STTC", subclass="NST_", form=True),
    Statement(code="DIG", name="digitalis effect", superclass="STTC", subclass="STTC", form=True),
    Statement(code="LNGQT", name="long QT interval", superclass="STTC", subclass="STTC", form=True),
    Statement(code="NORM", name="normal ECG", superclass="NORM", subclass="NORM"),
    Statement(code="IMI", name="inferior myocardial infarction", superclass="MI", subclass="IMI"),
    Statement(code="ASMI", name="anteroseptal myocardial infarction", superclass="MI", subclass="AMI"),
    Statement(code="LVH", name="left ventricular hypertrophy", superclass="HYP", subclass="LVH"),
    Statement(code="LAFB", name="left anterior fascicular block", superclass="CD", subclass="LAFB/LPFB"),
    Statement(code="ISC_", name="non-specific ischaemia", superclass="STTC", subclass="ISC_"),
    Statement(code="IRBBB", name="incomplete right bundle branch block", superclass="CD", subclass="IRBBB"),
    Statement(code="1AVB", name="first-degree AV block", superclass="CD", subclass="_AVB"),
    Statement(
        code="IVCD", name="non-specific intraventricular conduction disturbance", superclass="CD", subclass="IVCD"
    ),
    Statement(code="ISCAL", name="anterolateral ischaemia", superclass="STTC", subclass="ISCA"),
    Statement(code="CRBBB", name="complete right bundle branch block", superclass="CD", subclass="CRBBB"),
    Statement(code="CLBBB", name="complete left bundle branch block", superclass="CD", subclass="CLBBB"),
    Statement(code="ILMI", name="inferolateral myocardial infarction", superclass="MI", subclass="IMI"),
    Statement(code="LAO/LAE", name="left atrial overload or enlargement", superclass="HYP", subclass="LAO/LAE"),
    Statement(code="AMI", name="anterior myocardial infarction", superclass="MI", subclass="AMI"),
    Statement(code="ALMI", name="anterolateral myocardial infarction", superclass="MI", subclass="AMI"),
    Statement(code="ISCIN", name="inferior ischaemia", superclass="STTC", subclass="ISCI"),
    Statement(code="INJAS", name="anteroseptal subendocardial injury", superclass="MI", subclass="AMI"),
    Statement(code="LMI", name="lateral myocardial infarction", superclass="MI", subclass="LMI"),
    Statement(code="ISCIL", name="inferolateral ischaemia", superclass="STTC", subclass="ISCI"),
    Statement(code="LPFB", name="left posterior fascicular block", superclass="CD", subclass="LAFB/LPFB"),
    Statement(code="ISCAS", name="anteroseptal ischaemia", superclass="STTC", subclass="ISCA"),
    Statement(code="INJAL", name="anterolateral subendocardial injury", superclass="MI", subclass="AMI"),
    Statement(code="ISCLA", name="lateral ischaemia", superclass="STTC", subclass="ISCA"),
    Statement(code="RVH", name="right ventricular hypertrophy", superclass="HYP", subclass="RVH"),
    Statement(code="ANEUR", name="ST-T changes of a ventricular aneurysm", superclass="STTC", subclass="STTC"),
    Statement(code="RAO/RAE", name="right atrial overload or enlargement", superclass="HYP", subclass="RAO/RAE"),
    Statement(code="EL", name="electrolyte disturbance or drug effect", superclass="STTC", subclass="STTC"),
    Statement(code="WPW", name="Wolff-Parkinson-White syndrome", superclass="CD", subclass="WPW"),
    Statement(code="ILBBB", name="incomplete left bundle branch block", superclass="CD", subclass="ILBBB"),
    Statement(code="IPLMI", name="inferoposterolateral myocardial infarction", superclass="MI", subclass="IMI"),
    Statement(code="ISCAN", name="anterior ischaemia", superclass="STTC", subclass="ISCA"),
    Statement(code="IPMI", name="inferoposterior myocardial infarction", superclass="MI", subclass="IMI"),
    Statement(code="SEHYP", name="septal hypertrophy", superclass="HYP", subclass="SEHYP"),
    Statement(code="INJIN", name="inferior subendocardial injury", superclass="MI", subclass="IMI"),
    Statement(code="INJLA", name="lateral subendocardial injury", superclass="MI", subclass="AMI"),
    Statement(code="PMI", name="posterior myocardial infarction", superclass="MI", subclass="PMI"),
    Statement(code="3AVB", name="third-degree AV block", superclass="CD", subclass="_AVB"),
    Statement(code="INJIL", name="inferolateral subendocardial injury", superclass="MI", subclass="IMI"),
    Statement(code="2AVB", name="second-degree AV block", superclass="CD", subclass="_AVB"),
    Statement(code="ABQRS", name="abnormal QRS", form=True),
    Statement(code="PVC", name="ventricular premature complex", form=True),
    Statement(code="STD_", name="non-specific ST depression", form=True),
    Statement(code="VCLVH", name="QRS voltage of left ventricular hypertrophy", form=True),
    Statement(code="QWAVE", name="Q waves", form=True),
    Statement(code="LOWT", name="low T waves", form=True),
    Statement(code="NT_", name="non-specific T wave changes", form=True),
    Statement(code="PAC", name="atrial premature complex", form=True),
    Statement(code="LPR", name="long PR interval", form=True),
    Statement(code="INVT", name="inverted T waves", form=True),
    Statement(code="LVOLT", name="low QRS voltage", form=True),
    Statement(code="HVOLT", name="high QRS voltage", form=True),
    Statement(code="TAB_", name="T wave abnormality", form=True),
    Statement(code="STE_", name="non-specific ST elevation", form=True),
    Statement(code="PRC(S)", name="premature complexes", form=True),
    Statement(code="SR", name="sinus rhythm", rhythm=True),
    Statement(code="AFIB", name="atrial fibrillation", rhythm=True),
    Statement(code="STACH", name="sinus tachycardia", rhythm=True),
    Statement(code="SARRH", name="sinus arrhythmia", rhythm=True),
    Statement(code="SBRAD", name="sinus bradycardia", rhythm=True),
    Statement(code="PACE", name="artificial pacemaker", rhythm=True),
    Statement(code="SVARR", name="supraventricular arrhythmia", rhythm=True),
    Statement(code="BIGU", name="bigeminy", rhythm=True),
    Statement(code="AFLT", name="atrial flutter", rhythm=True),
    Statement(code="SVTAC", name="supraventricular tachycardia", rhythm=True),
    Statement(code="PSVT", name="paroxysmal supraventricular tachycardia", rhythm=True),
    Statement(code="TRIGU", name="trigeminy", rhythm=True),
)
