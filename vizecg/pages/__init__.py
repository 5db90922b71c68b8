"""PageSet: every record drawn, photographed, taken in, and stored as the model will see it.

The stored arrays have been through the very intake the service uses, so training
pays for page, camera and intake once and never sees anything else than serving.
Copy 0 of a record is the standard page without a camera; the others go through
the camera. Of a record that came on paper, copy 0 is the paper as it came, and the
others are photographs of it; nothing is drawn for it.

On disk: `shard-000.npy` … (uint8, pages × height × width), `index.parquet`,
`set.json`, `previews/` and `contact_sheet.png` for people, `manifest.json`.
Few large files, because a remote store pays per file. A page set of records on paper
is as private as those records: nothing of it is copied to a model, a report or MLflow.
"""

from vizecg.pages.drawing import draw_pages
from vizecg.pages.page_set import (
    INDEX_FILE,
    PAGE_SET,
    PAGES_PER_SHARD,
    SCHEMA_VERSION,
    SET_FILE,
    DrawnPage,
    PageSet,
    StoredPages,
    read_page_set,
    take_in,
    write_pages,
)
from vizecg.pages.uploads import (
    NO_CAMERA,
    ON_PAPER,
    PageRecipe,
    Upload,
    draw_upload,
    make_unlettered_upload,
    make_upload,
    opened,
    photograph_paper,
    upload_of,
)

__all__ = [
    "INDEX_FILE",
    "NO_CAMERA",
    "ON_PAPER",
    "PAGES_PER_SHARD",
    "PAGE_SET",
    "SCHEMA_VERSION",
    "SET_FILE",
    "DrawnPage",
    "PageRecipe",
    "PageSet",
    "StoredPages",
    "Upload",
    "draw_pages",
    "draw_upload",
    "make_unlettered_upload",
    "make_upload",
    "opened",
    "photograph_paper",
    "read_page_set",
    "take_in",
    "upload_of",
    "write_pages",
]
