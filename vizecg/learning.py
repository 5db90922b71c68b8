"""Which records and pages a training learns from: record set and page set in, `TrainingData` out.

Records without a label of the task take no part, nor do pages that the intake takes for
no ECG: the service would not answer for them.
"""

from collections.abc import Collection
from typing import TYPE_CHECKING

import numpy as np

from vizecg.batches import TrainingData

if TYPE_CHECKING:
    from vizecg.pages import PageSet
    from vizecg.records import RecordSet


def training_data(
    record_set: "RecordSet",
    *,
    page_set: "PageSet",
    training_folds: Collection[int],
    validation_folds: Collection[int],
) -> TrainingData:
    """Gather what is learned from and what the epoch is chosen on.

    Args:
        record_set: the records.
        page_set: their pages.
        training_folds: learned from.
        validation_folds: the best epoch is chosen on these; none where the last is taken.

    Raises:
        InputError: there are too few of either.
    """
    numbers = np.flatnonzero(page_set.is_ecg)
    index = page_set.index.iloc[numbers]
    page_row = index["row"].to_numpy()
    training, validation = (record_set.rows(folds=folds) for folds in (training_folds, validation_folds))
    return TrainingData(
        pages=page_set.stored(numbers),
        page_row=page_row,
        page_copy=index["copy"].to_numpy(),
        signals_uv=record_set.signals_uv,
        sampling_hz=record_set.sampling_hz,
        has_signal=record_set.has_signal,
        labels=record_set.labels(),
        codes=record_set.codes,
        ecg_ids=record_set.table["ecg_id"].to_numpy(),
        training_rows=training[np.isin(training, page_row)],
        validation_rows=validation[np.isin(validation, page_row)],
        digest=f"{record_set.digest}:{page_set.digest}",
        patient_ids=record_set.table["patient_id"].to_numpy(),
    )
