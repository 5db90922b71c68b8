"""RecordSet: the artefact of ingest, every record and the table that describes them.

A folder of `signals.npy` (int16, one microvolt per unit), `uploads.bin` (the page
images of records that came on paper), `records.parquet` (one row per record, in
the same order), `quarantine.csv` (what was left out, and why) and `set.json`
(task and classes, rate, sources, counts). Written and read here only.
"""

from vizecg.records.record import (
    AGE_BANDS,
    AGE_HIDDEN_ABOVE,
    FOLDS,
    RECORD_LENGTH_S,
    TEST_FOLD,
    TRAIN_FOLDS,
    VALIDATION_FOLD,
    Age,
    Counts,
    Provenance,
    Reason,
    Record,
    Sex,
)
from vizecg.records.record_set import RecordSet, read_quarantine, read_record_set
from vizecg.records.table import PLAIN_COLUMNS, table_columns
from vizecg.records.writing import (
    QUARANTINE_FILE,
    RECORD_SET,
    SCHEMA_VERSION,
    SET_FILE,
    SIGNALS_FILE,
    TABLE_FILE,
    UPLOADS_FILE,
    UV_PER_MV,
    RecordSetWriter,
    writing_record_set,
)

__all__ = [
    "AGE_BANDS",
    "AGE_HIDDEN_ABOVE",
    "FOLDS",
    "PLAIN_COLUMNS",
    "QUARANTINE_FILE",
    "RECORD_LENGTH_S",
    "RECORD_SET",
    "SCHEMA_VERSION",
    "SET_FILE",
    "SIGNALS_FILE",
    "TABLE_FILE",
    "TEST_FOLD",
    "TRAIN_FOLDS",
    "UPLOADS_FILE",
    "UV_PER_MV",
    "VALIDATION_FOLD",
    "Age",
    "Counts",
    "Provenance",
    "Reason",
    "Record",
    "RecordSet",
    "RecordSetWriter",
    "Sex",
    "read_quarantine",
    "read_record_set",
    "table_columns",
    "writing_record_set",
]
