"""`GET /`: the page for people who have one ECG and a browser. Three files, no build step, nothing from elsewhere."""

from pathlib import Path
from typing import Final

from fastapi import APIRouter
from fastapi.responses import FileResponse

_HERE: Final = Path(__file__).parent
# Stricter than for other replies: only files of this service, and pictures that came with the answer.
_HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
}

router = APIRouter(include_in_schema=False)


@router.get("/")
async def index() -> FileResponse:
    """Drop, choose or photograph an ECG; see what the model says of it and where."""
    return FileResponse(_HERE / "index.html", media_type="text/html; charset=utf-8", headers=_HEADERS)


@router.get("/page/style.css")
async def style() -> FileResponse:
    """For day, night and phones."""
    return FileResponse(_HERE / "style.css", media_type="text/css; charset=utf-8", headers=_HEADERS)


@router.get("/page/script.js")
async def script() -> FileResponse:
    """Asks `/v1/explain` and shows the answer."""
    return FileResponse(_HERE / "script.js", media_type="text/javascript; charset=utf-8", headers=_HEADERS)
