"""The bytes of a picture out of a request: counted while they arrive, kept in memory, never trusted by name or type."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Final

from fastapi import Request
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from serving.problems import ProblemError
from serving.settings import ServingSettings
from serving.upload_space import FORM_OVERHEAD_BYTES, make_room
from vizecg.intake import READ

FIELD: Final = "file"
_MAX_PARTS: Final = 8
_MAX_BOUNDARY: Final = 70  # RFC 2046, section 5.1.1


async def read_picture(request: Request, *, settings: ServingSettings) -> bytes:
    """Take the picture from a multipart form's field `file`, or else from the body itself.

    Raises:
        ProblemError: 413 too large, 408 too slow, 400 no whole form although declared as one, 422 nothing sent,
            503 no room.
    """
    max_bytes = settings.max_body_bytes
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    is_form = kind == b"multipart/form-data"
    limit = max_bytes + FORM_OVERHEAD_BYTES if is_form else max_bytes
    chunks = _counted(request, limit=limit, max_bytes=max_bytes)
    async with _in_time(settings.body_s, what="picture"):
        if is_form:
            data = (await _read_form(chunks, _Form(), boundary=options.get(b"boundary", b""))).file()
        else:
            data = b"".join([chunk async for chunk in chunks])
    if len(data) > max_bytes:
        raise _too_large(len(data), max_bytes)
    if not data:
        raise ProblemError(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            f"no picture was sent; send its bytes as the body, or as multipart form field {FIELD!r}",
            got="0 bytes",
            allowed=f"one {READ} file",
        )
    return data


async def read_bytes(request: Request, *, max_bytes: int, within_s: float, what: str) -> bytes:
    """Take the body as it is.

    Raises:
        ProblemError: 413 too large, 408 too slow, 503 no room.
    """
    chunks = _counted(request, limit=max_bytes, max_bytes=max_bytes, what=what)
    async with _in_time(within_s, what=what):
        return b"".join([chunk async for chunk in chunks])


async def read_pictures(request: Request, *, settings: ServingSettings) -> list[bytes | ProblemError]:
    """Take every file of a multipart form's field `file`, in their order; one that is empty or too large is a problem.

    Of a file that is too large, what is beyond is not kept.

    Raises:
        ProblemError: 413 too many bytes or files, 408 too slow, 400 no whole form, 415 no form, 422 no file,
            503 no room.
    """
    max_bytes, most, max_total_bytes = settings.max_body_bytes, settings.max_batch_files, settings.max_batch_bytes
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    if kind != b"multipart/form-data":
        raise ProblemError(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            f"a batch is a multipart form with a file in each field {FIELD!r}",
            got=kind.decode("latin-1")[:64] or "no Content-Type",
            allowed="multipart/form-data",
        )
    chunks = _counted(request, limit=max_total_bytes, max_bytes=max_total_bytes, what="batch")
    form = _Form(most_parts=most + _MAX_PARTS, most_bytes=max_bytes + 1)
    async with _in_time(settings.body_s, what="batch"):
        files = (await _read_form(chunks, form, boundary=options.get(b"boundary", b""))).files()
    if not files:
        raise ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, f"the form has no file in a field {FIELD!r}", got=0)
    if len(files) > most:
        raise ProblemError(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "the batch has too many files", got=len(files), allowed=most
        )
    return [_alone(data, max_bytes=max_bytes) for data in files]


def _alone(data: bytes, *, max_bytes: int) -> bytes | ProblemError:
    if len(data) > max_bytes:
        return _too_large(len(data), max_bytes)
    if not data:
        return ProblemError(
            HTTPStatus.UNPROCESSABLE_ENTITY, "the file is empty", got="0 bytes", allowed=f"one {READ} file"
        )
    return data


class _Form:
    """Collects the parts of a form in memory: neither a client's name nor a patient's page may reach a disk."""

    def __init__(self, *, most_parts: int = _MAX_PARTS, most_bytes: int | None = None) -> None:
        self._most_parts = most_parts
        self._most_bytes = most_bytes
        self.parts: list[tuple[dict[bytes, bytes], bytearray]] = []
        """Options of Content-Disposition, content."""
        self.whole = False
        self._header = bytearray()
        self._value = bytearray()

    def on_part_begin(self) -> None:
        if len(self.parts) == self._most_parts:
            raise _unreadable(f"it has more than {self._most_parts} fields")
        self.parts.append(({}, bytearray()))

    def on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def on_header_end(self) -> None:
        if self._header.lower() == b"content-disposition":
            self.parts[-1][0].update(parse_options_header(bytes(self._value))[1])
        self._header.clear()
        self._value.clear()

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        content = self.parts[-1][1]
        if self._most_bytes is not None:
            end = min(end, start + self._most_bytes - len(content))
        content.extend(memoryview(data)[start:end])

    def on_end(self) -> None:
        self.whole = True

    def files(self) -> list[bytes]:
        """Content of every file in the field that we read."""
        return [
            bytes(content)
            for options, content in self.parts
            if options.get(b"name") == FIELD.encode() and b"filename" in options
        ]

    def file(self) -> bytes:
        """Content of the one file in the field that we read."""
        found = [(options, content) for options, content in self.parts if options.get(b"name") == FIELD.encode()]
        if len(found) == 1 and b"filename" in found[0][0]:
            return bytes(found[0][1])
        raise ProblemError(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            f"the form must hold one file in field {FIELD!r}",
            got="a text field" if len(found) == 1 else f"{len(found)} fields of that name",
            allowed="one file",
        )


async def _read_form(chunks: AsyncIterator[bytes], form: _Form, *, boundary: bytes) -> _Form:
    if not boundary:
        raise _unreadable("its Content-Type names no boundary")
    if len(boundary) > _MAX_BOUNDARY:
        raise _unreadable(f"its boundary has {len(boundary)} characters, at most {_MAX_BOUNDARY}")
    parser = MultipartParser(
        boundary,
        {
            "on_part_begin": form.on_part_begin,
            "on_header_field": form.on_header_field,
            "on_header_value": form.on_header_value,
            "on_header_end": form.on_header_end,
            "on_part_data": form.on_part_data,
            "on_end": form.on_end,
        },
    )
    try:
        async for chunk in chunks:
            parser.write(chunk)
        parser.finalize()
    except FormParserError:
        raise _unreadable("its parts are not as its boundary says") from None
    if not form.whole:
        raise _unreadable("it ends before its last boundary")
    return form


@asynccontextmanager
async def _in_time(within_s: float, *, what: str) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(within_s):
            yield
    except TimeoutError:
        raise ProblemError(
            HTTPStatus.REQUEST_TIMEOUT,
            f"the {what} did not arrive within {within_s:g} s",
            headers={"Connection": "close"},  # what comes now is no request
        ) from None


async def _counted(request: Request, *, limit: int, max_bytes: int, what: str = "picture") -> AsyncIterator[bytes]:
    declared = request.headers.get("content-length", "")
    if declared.isdecimal():
        announced = int(declared[:20])
        if announced > limit:
            raise _too_large(announced, max_bytes, what=what)
        make_room(request, body_bytes=announced)
    received = 0
    async for chunk in request.stream():
        received += len(chunk)
        if received > limit:
            raise _too_large(received, max_bytes, what=what)
        make_room(request, body_bytes=received)
        yield chunk


def _unreadable(why: str) -> ProblemError:
    return ProblemError(HTTPStatus.BAD_REQUEST, f"the multipart form cannot be read: {why}")


def _too_large(got_bytes: int, max_bytes: int, *, what: str = "picture") -> ProblemError:
    return ProblemError(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        f"the {what} is larger than {max_bytes} bytes",
        got=f"at least {got_bytes} bytes",
        allowed=f"{max_bytes} bytes",
    )
