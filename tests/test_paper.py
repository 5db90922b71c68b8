"""A hospital's scans arrive as they were scanned, with who they are of hidden, or say why they did not."""

import csv
import io
import shutil
import time
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pydicom
import pypdfium2
import pytest
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import ExplicitVRLittleEndian, JPEGBaseline8Bit, RLELossless

from vizecg.errors import InputError
from vizecg.intake import decode
from vizecg.labels import TASKS
from vizecg.layouts import layout_of
from vizecg.page import STYLES, draw_page
from vizecg.paper.pages import read_pages
from vizecg.paper.table import PageFile
from vizecg.recordings.offer import Asked, Reading, Refusal
from vizecg.records import Reason

PATIENT = "Erika Mustermann"


@pytest.fixture(scope="module")
def scan():
    """(height, width, 3) RGB of an ECG page."""
    time_s = np.arange(1000) / 100
    beat = np.exp(-((((time_s * 1.2) % 1 - 0.4) / 0.03) ** 2))
    return draw_page(np.stack([beat] * 12), sampling_hz=100, style=STYLES["standard"], px_per_mm=4.0).rgb


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "scans").mkdir()
    return tmp_path / "scans"


def save(pixels, path, **options):
    Image.fromarray(pixels).save(path, **options)
    return path


def asked(*, task="superdiagnostic", label_map=None, limit=None):
    return Asked(source="folder:scans", task=TASKS[task], sampling_hz=100, limit=limit, label_map=label_map)


def write_table(folder, *rows, columns=("file", "patient_id", "labels")):
    with (folder / "labels.csv").open("w", newline="") as opened:
        writer = csv.writer(opened)
        writer.writerows([columns, *rows])


def offers(folder, **changes):
    return layout_of(folder, asked=asked(**changes)).offers()


def read(folder, file, page=None):
    (result,) = read_pages([PageFile(file=file, page=page)], folder=folder)
    return result


def pixels_of(result):
    assert isinstance(result, Reading), result
    assert result.signals_uv is None
    return decode(result.upload)


# The table


def test_a_row_becomes_a_record_whose_patient_is_a_number(folder):
    columns = ("file", "page", "patient_id", "labels", "age", "sex", "site", "device", "recorded_at")
    write_table(
        folder,
        ("a.png", "", PATIENT, "MI; CLBBB", "92", "F", "ward 3", "MAC 5", "2024-11-09 09:17:34"),
        ("b.pdf", "2", PATIENT, "", "", "", "", "", ""),
        columns=columns,
    )
    first, second = (offer.record for offer in offers(folder))
    assert (first.name, second.name) == ("a.png", "b.pdf#2")
    assert first.classes == ("MI", "CD")
    assert (first.age.band, first.sex, first.site, first.device) == ("90+", "female", "ward 3", "MAC 5")
    assert (second.age.band, second.sex, second.classes) == ("unknown", "unknown", ())
    assert first.patient_id == second.patient_id
    assert first.fold == second.fold
    assert PATIENT not in repr((first, second))


def test_a_hospitals_own_words_are_mapped(folder):
    write_table(folder, ("a.png", "p1", "Hinterwandinfarkt;Linkstyp"))
    (folder / "label_map.csv").write_text("label,code\nHinterwandinfarkt,IMI\nLinkstyp,\n")
    assert offers(folder)[0].record.classes == ("MI",)
    assert offers(folder, task="subdiagnostic")[0].record.classes == ("IMI",)


def test_folds_may_be_the_hospitals_own(folder):
    write_table(
        folder, ("a.png", "p1", "", "9"), ("b.png", "p2", "", "10"), columns=("file", "patient_id", "labels", "fold")
    )
    assert [offer.record.fold for offer in offers(folder)] == [9, 10]


def test_files_that_no_row_names_are_told(folder, capsys):
    write_table(folder, ("a.png", "p1", ""))
    for name in ("a.png", "readme.txt", ".DS_Store"):
        (folder / name).write_text("x")
    offers(folder)
    assert capsys.readouterr().out == (
        "folder:scans: 1 files that labels.csv does not name are left out, the first is readme.txt\n"
    )


def rows(*given, columns=("file", "patient_id", "labels")):
    return lambda folder: write_table(folder, *given, columns=columns)


def raw(content):
    return lambda folder: (folder / "labels.csv").write_bytes(content)


TABLE_FAULTS = {
    "no column": (rows(("a.png", "p"), columns=("file", "patient_id")), "lacks the column 'labels'; it needs file, p"),
    "too much": (
        rows(("a", "p", "", "x"), columns=("file", "patient_id", "labels", "name")),
        r"has the column 'name'; allowed are .*: what is not needed must not travel",
    ),
    "no rows": (rows(), r"labels\.csv lists no page"),
    "not text": (raw(b"\xff\xfe\x00"), r"labels\.csv cannot be read as CSV: 'utf-8' codec"),
    "broken quotes": (raw(b'file,patient_id,labels\n"a,p,\n'), r"labels\.csv cannot be read as CSV"),
    "no file": (rows(("", "p", "")), "line 2 has no file"),
    "no patient": (rows(("a", "", "")), "line 2 has no patient_id"),
    "twice": (rows(("a", "p", ""), ("b", "p", ""), ("a", "p", "")), "line 4 names a again, after line 2"),
    "label": (rows(("a", "p", "NORM"), ("b", "p", "flu")), "line 3 has the label 'flu', which is in no label map"),
    "age": (rows(("a", "p", "", "old"), columns=("file", "patient_id", "labels", "age")), "line 2 has age 'old', exp"),
    "sex": (rows(("a", "p", "", "x"), columns=("file", "patient_id", "labels", "sex")), "line 2 has sex 'x', allowed"),
    "page": (rows(("a", "p", "", "0"), columns=("file", "patient_id", "labels", "page")), "line 2 has page '0', expec"),
    "date": (
        rows(("a", "p", "", "monday"), columns=("file", "patient_id", "labels", "recorded_at")),
        "line 2 has recorded_at 'monday', expected the form",
    ),
    "fold": (rows(("a", "p", "", "11"), columns=("file", "patient_id", "labels", "fold")), "line 2 has fold '11', all"),
    "some folds": (
        rows(("a", "p", "", "1"), ("b", "p", "", ""), columns=("file", "patient_id", "labels", "fold")),
        "gives a fold to some pages and not to line 3; all or none",
    ),
    "two sides": (
        rows(("a", "p", "", "1"), ("b", "p", "", "10"), columns=("file", "patient_id", "labels", "fold")),
        "line 3 puts a patient into fold 10 who is in fold 1 before: a patient must not be on two sides",
    ),
}


@pytest.mark.parametrize(("write", "message"), TABLE_FAULTS.values(), ids=TABLE_FAULTS)
def test_a_table_that_cannot_be_right_is_refused_by_line(folder, write, message):
    write(folder)
    with pytest.raises(InputError, match=message):
        offers(folder)


def test_an_unreadable_label_map_is_refused(folder):
    write_table(folder, ("a.png", "p1", "x"))
    (folder / "label_map.csv").write_text("label;code\nx;MI\n")
    with pytest.raises(InputError, match=r"label_map\.csv lacks the column 'label'"):
        offers(folder)


# Pictures


def test_png_and_jpeg_keep_their_very_pixels(folder, scan):
    save(scan, folder / "a.png")
    save(scan, folder / "b.jpg", quality=90)
    for name in ("a.png", "b.jpg"):
        np.testing.assert_array_equal(pixels_of(read(folder, name)), decode((folder / name).read_bytes()))


def test_what_a_picture_says_beside_itself_stays_behind(folder, scan):
    from PIL.PngImagePlugin import PngInfo

    text = PngInfo()
    text.add_text("Patient", PATIENT)
    save(scan, folder / "a.png", pnginfo=text)
    exif = Image.Exif()
    exif[0x010E] = PATIENT
    save(scan, folder / "b.jpg", exif=exif, comment=PATIENT.encode())
    for name in ("a.png", "b.jpg"):
        assert PATIENT.encode() in (folder / name).read_bytes()
        assert PATIENT.encode() not in read(folder, name).upload


def test_a_jpeg_that_lies_on_its_side_is_put_upright(folder, scan):
    exif = Image.Exif()
    exif[0x0112] = 6
    save(np.rot90(scan), folder / "a.jpg", exif=exif, quality=95)
    found = pixels_of(read(folder, "a.jpg"))
    assert found.shape == scan.shape
    np.testing.assert_array_equal(found, decode((folder / "a.jpg").read_bytes()))


@pytest.mark.parametrize("mode", ["RGB", "L", "1", "P", "CMYK", "I;16", "RGBA"])
def test_any_tiff_is_the_picture_it_holds(folder, scan, mode):
    image = Image.fromarray(scan)
    if mode == "I;16":
        gray = np.asarray(image.convert("L"))
        Image.fromarray(gray.astype(np.uint16) * 257).save(folder / "a.tif")
    else:
        image.convert(mode).save(folder / "a.tif", compression=None if mode == "CMYK" else "tiff_deflate")
    found = pixels_of(read(folder, "a.tif"))
    shown = found if found.ndim == 2 else found.mean(axis=2)
    expected = np.asarray(image.convert("1" if mode == "1" else "RGB").convert("RGB")).mean(axis=2)
    assert np.abs(shown.astype(float) - expected).mean() < 12


def test_pages_of_a_tiff_are_told_apart(folder, scan):
    pages = [Image.fromarray(scan), Image.fromarray(255 - scan), Image.fromarray(scan[::-1].copy())]
    pages[0].save(folder / "a.tif", save_all=True, append_images=pages[1:], compression="tiff_lzw")
    for number, page in enumerate(pages, start=1):
        np.testing.assert_array_equal(pixels_of(read(folder, "a.tif", number)), np.asarray(page))
    missing = read(folder, "a.tif")
    assert (missing.reason, missing.detail) == (
        Reason.PAGE_MISSING,
        "the file has 3 pages; say which in the column page, a row for each",
    )
    assert read(folder, "a.tif", 4).detail == "page 4 is asked for, and the file has 3"


def test_a_page_of_a_pdf_is_drawn(folder, scan):
    pages = [Image.fromarray(scan), Image.fromarray(scan[::-1].copy())]
    pages[0].save(folder / "a.pdf", save_all=True, append_images=pages[1:], resolution=4 * 25.4, quality=95)
    for number, page in enumerate(pages, start=1):
        found = pixels_of(read(folder, "a.pdf", number))
        assert found.shape[0] > 1.8 * scan.shape[0]  # 200 dpi for the 102 that were scanned
        small = np.asarray(Image.fromarray(found).resize(page.size, Image.Resampling.BOX))
        assert np.abs(small.astype(float) - np.asarray(page)).mean() < 8
    assert read(folder, "a.pdf").reason == Reason.PAGE_MISSING


def dicom(pixels, *, kind="RGB", syntax=ExplicitVRLittleEndian, bits=8, frames=1):
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = "1.2.3"
    dataset.PatientName, dataset.PatientID = PATIENT.replace(" ", "^"), "12345678"
    shape = pixels.shape[1:] if frames > 1 else pixels.shape
    dataset.Rows, dataset.Columns = shape[:2]
    dataset.SamplesPerPixel = 3 if len(shape) == 3 else 1
    if dataset.SamplesPerPixel == 3:
        dataset.PlanarConfiguration = 0
    if frames > 1:
        dataset.NumberOfFrames = frames
    dataset.PhotometricInterpretation = kind
    dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = bits, bits - 1, 0
    dataset.BitsAllocated = 8 if bits <= 8 else 16
    if syntax == JPEGBaseline8Bit:
        out = io.BytesIO()
        Image.fromarray(pixels).save(out, format="JPEG", quality=95)
        dataset.PixelData = encapsulate([out.getvalue()])
    else:
        dataset.PixelData = pixels.tobytes()
        if syntax == RLELossless:
            dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
            dataset.compress(RLELossless)
    return dataset


def write_dicom(dataset, path):
    pydicom.dcmwrite(path, dataset, enforce_file_format=True)
    assert PATIENT.split()[1].encode() in path.read_bytes()


def gray(scan):
    return np.asarray(Image.fromarray(scan).convert("L"))


@pytest.mark.parametrize("case", ["RGB", "RLE", "MONOCHROME2", "MONOCHROME1", "12 bits", "JPEG", "second frame"])
def test_a_picture_in_dicom_is_shown_as_it_was_meant(folder, scan, case):
    plain = gray(scan)
    dataset, expected, page = {
        "RGB": (dicom(scan), scan, None),
        "RLE": (dicom(scan, syntax=RLELossless), scan, None),
        "MONOCHROME2": (dicom(plain, kind="MONOCHROME2"), plain, None),
        "MONOCHROME1": (dicom(255 - plain, kind="MONOCHROME1"), plain, None),
        "12 bits": (dicom(plain.astype(np.uint16) * 16, kind="MONOCHROME2", bits=12), plain, None),
        "JPEG": (dicom(scan, kind="YBR_FULL_422", syntax=JPEGBaseline8Bit), scan, None),
        "second frame": (dicom(np.stack([255 - plain, plain]), kind="MONOCHROME2", frames=2), plain, 2),
    }[case]
    write_dicom(dataset, folder / "a.dcm")
    found = pixels_of(read(folder, "a.dcm", page))
    assert found.shape == expected.shape
    assert np.abs(found.astype(float) - expected).mean() < (4 if case == "JPEG" else 0.01)
    assert b"Mustermann" not in read(folder, "a.dcm", page).upload


def test_a_pdf_in_dicom_is_drawn(folder, scan):
    out = io.BytesIO()
    Image.fromarray(scan).save(out, format="PDF", resolution=4 * 25.4)
    dataset = dicom(scan)
    del dataset.PixelData
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.104.1"
    dataset.MIMETypeOfEncapsulatedDocument = "application/pdf"
    dataset.EncapsulatedDocument = out.getvalue() + b"\0" * (len(out.getvalue()) % 2)
    write_dicom(dataset, folder / "a.dcm")
    assert pixels_of(read(folder, "a.dcm")).shape[0] > scan.shape[0]


# What cannot be read


def bomb_png(folder, _):
    import struct
    import zlib

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    data = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
    (folder / "x").write_bytes(data)


def bomb_dicom(folder, scan):
    dataset = dicom(scan)
    dataset.Rows, dataset.Columns = 60_000, 60_000
    write_dicom(dataset, folder / "x")


def cut(kind, **options):
    def write(folder, scan):
        save(scan, folder / "x", format=kind, **options)
        content = (folder / "x").read_bytes()
        (folder / "x").write_bytes(content[: len(content) // 3])

    return write


def bytes_of(content):
    return lambda folder, _: (folder / "x").write_bytes(content)


def cut_dicom(folder, scan):
    write_dicom(dicom(scan), folder / "x")
    content = (folder / "x").read_bytes()
    (folder / "x").write_bytes(content[: len(content) // 2])


def dicom_without_picture(folder, scan):
    dataset = dicom(scan)
    del dataset.PixelData
    write_dicom(dataset, folder / "x")


UNREADABLE = {
    "text": (
        bytes_of(b"this is no picture"),
        Reason.IMAGE_UNREADABLE,
        "TIFF or PDF file, got something",
    ),
    "empty": (bytes_of(b""), Reason.IMAGE_UNREADABLE, "got an empty file"),
    "cut PNG": (cut("PNG"), Reason.IMAGE_UNREADABLE, "the PNG file is broken or cut off"),
    "cut JPEG": (cut("JPEG"), Reason.IMAGE_UNREADABLE, "the JPEG file is broken or cut off"),
    "cut TIFF": (cut("TIFF"), Reason.IMAGE_UNREADABLE, "the TIFF file is broken or cut off"),
    "no PDF": (bytes_of(b"%PDF-1.7\nnothing"), Reason.IMAGE_UNREADABLE, "the PDF file is broken or cut off"),
    "cut DICOM": (cut_dicom, Reason.IMAGE_UNREADABLE, "the DICOM file is broken or cut off"),
    "no DICOM": (bytes_of(bytes(128) + b"DICM" + b"x" * 50), Reason.IMAGE_UNREADABLE, "the DICOM file"),
    "no picture": (dicom_without_picture, Reason.IMAGE_UNREADABLE, "holds neither a picture nor a PDF"),
    "PNG bomb": (bomb_png, Reason.IMAGE_TOO_LARGE, "60000 × 60000 pixels, 3600 million; at most 50 million are read"),
    "DICOM bomb": (bomb_dicom, Reason.IMAGE_TOO_LARGE, "60000 × 60000 pixels, 3600 million; at most 50 million"),
    "not there": (lambda *_: None, Reason.MISSING_FILE, "x is not there"),
}


@pytest.mark.parametrize(("write", "reason", "detail"), UNREADABLE.values(), ids=UNREADABLE)
def test_what_cannot_be_read_is_set_aside_with_its_reason(folder, scan, write, reason, detail):
    write(folder, scan)
    found = read(folder, "x")
    assert isinstance(found, Refusal), found
    assert found.reason == reason, found
    assert detail in found.detail, found


def test_a_pdf_with_a_password_says_so(folder):
    # A page, encrypted with a password (qpdf's form, 40 bit); only its trailer matters here.
    document = (
        b"%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj\n"
        b"3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 9 9]>>endobj\n4 0 obj<</Filter/Standard/V 1/R 2/O("
        + b"o" * 32
        + b")/U("
        + b"u" * 32
        + b")/P -4>>endobj\n"
        b"trailer<</Root 1 0 R/Encrypt 4 0 R/ID[(1234567890123456)(1234567890123456)]/Size 5>>\n%%EOF\n"
    )
    (folder / "x").write_bytes(document)
    assert read(folder, "x").detail == "the PDF file needs a password"


@pytest.mark.parametrize("file", ["../secret.png", "/etc/passwd", "a/../../secret.png"])
def test_a_table_cannot_name_files_elsewhere(folder, scan, file):
    save(scan, folder.parent / "secret.png")
    found = read(folder, file)
    assert (found.reason, found.detail) == (
        Reason.OUTSIDE_FOLDER,
        f"the table names the file {file!r}, which is not below the folder",
    )


# By several threads at once


def test_a_pdf_is_read_by_one_thread_at_a_time(folder, scan, monkeypatch):
    Image.fromarray(scan[:100, :100].copy()).save(folder / "a.pdf", resolution=100)
    inside, most = 0, 0

    class Counted(pypdfium2.PdfDocument):
        def __init__(self, data):
            nonlocal inside, most
            inside += 1
            most = max(most, inside)
            time.sleep(0.01)
            super().__init__(data)

        def close(self):
            nonlocal inside
            super().close()
            inside -= 1

    monkeypatch.setattr(pypdfium2, "PdfDocument", Counted)
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda _: read(folder, "a.pdf").upload, range(16)))
    assert (most, len(set(found))) == (1, 1)


def test_threads_that_read_dicom_leave_the_filters_of_warnings_as_they_were(folder, scan):
    write_dicom(dicom(scan), folder / "a.dcm")
    before = list(warnings.filters)
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda _: read(folder, "a.dcm").upload, range(32)))
    assert warnings.filters == before
    assert len(set(found)) == 1


# Through ingest


def test_paper_beside_signals_in_one_set(folder, scan, tmp_path, monkeypatch):
    from vizecg.records import read_quarantine, read_record_set
    from vizecg.sources import write_pin
    from vizecg.steps.ingest import Params, run

    monkeypatch.setenv("VIZECG_STATE_DIR", str(tmp_path / "state"))
    save(scan, folder / "a.png")
    save(scan[::-1].copy(), folder / "b.jpg")
    (folder / "notes.txt").write_text("not an image")
    write_table(folder, ("a.png", "p1", "MI"), ("b.jpg", "p2", ""), ("notes.txt", "p3", "NORM"))
    params = Params(
        source=["simulated", str(folder)],
        task="superdiagnostic",
        limit=None,
        sampling_hz=100,
        label_map=None,
        max_quarantined=0.3,
        workers=2,
        fetch={"connections": 1, "part_mb": 1, "tries": 1, "deadline_s": 60},
        s3={"endpoint_url": None, "region": None, "signed": False},
        simulated={"records": 4, "seed": 7},
    )
    write_pin(tmp_path / "source.json", params)
    run(params, source=tmp_path / "source.json", records=tmp_path / "records")
    record_set = read_record_set(tmp_path / "records")
    assert record_set.has_signal.tolist() == [True] * 4 + [False] * 2
    np.testing.assert_array_equal(decode(record_set.upload(4)), scan)
    assert record_set.table["name"].tolist()[4:] == ["a.png", "b.jpg"]
    assert record_set.labels()[4].tolist() == [0, 1, 0, 0, 0]
    assert read_quarantine(tmp_path / "records")["reason"].tolist() == ["image_unreadable"]
    assert record_set.simulated  # the set holds simulated records, so what is measured on it means nothing


def test_two_tables_in_one_folder_are_refused(folder):
    for name in ("one", "two"):
        (folder / name).mkdir()
        write_table(folder / name, ("a.png", "p", ""))
    with pytest.raises(InputError, match=r"folder:scans holds more than one labels\.csv"):
        offers(folder)
    shutil.rmtree(folder / "two")
    assert len(offers(folder)) == 1
