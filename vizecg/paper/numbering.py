"""Which page of a document a row of the table means."""

from vizecg.recordings.reading import refuse
from vizecg.records import Reason


def which_page(page: int | None, pages: int) -> int:
    """Find the index of a page that is counted from 1; of a file with one page nobody need say which.

    Raises:
        Refused: there are several and none is named, or there is none of that number.
    """
    if pages < 1:
        refuse(Reason.IMAGE_UNREADABLE, "the file has no page")
    if page is None and pages > 1:
        refuse(Reason.PAGE_MISSING, f"the file has {pages} pages; say which in the column page, a row for each")
    if page is not None and page > pages:
        refuse(Reason.PAGE_MISSING, f"page {page} is asked for, and the file has {pages}")
    return 0 if page is None else page - 1
