"""What more than one test file needs."""

import os
import tarfile
from pathlib import Path

import pytest

REAL_SAMPLE_VARIABLE = "VIZECG_TEST_PTBXL"


@pytest.fixture(scope="session")
def real_ptbxl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a real PTB-XL sample in PhysioNet's layout."""
    archive = os.environ.get(REAL_SAMPLE_VARIABLE)
    if not archive:
        pytest.skip(f"needs real PTB-XL records: set {REAL_SAMPLE_VARIABLE} to an archive of them")
    target = tmp_path_factory.mktemp("ptbxl")
    with tarfile.open(archive) as opened:
        opened.extractall(target, filter="data")
    (folder,) = target.iterdir()
    return folder
