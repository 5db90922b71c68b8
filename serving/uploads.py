"""The bytes of a picture out of a request: counted while they arrive, kept in memory, never trusted by name or type."""

from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import Final

from fastapi import Request
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from serving.problems import ProblemError
from vizecg.intake import READ

FIELD: Final = "file"
_FORM_OVERHEAD_BYTES: Final = 64_000
_MAX_PARTS: Final = 8
_MAX_BOUNDARY: Final = 70  # RFC 2046, section 5.1.1


async def read_picture(request: Request, *, max_bytes: int) -> bytes:
    """Take the picture from a multipart form's field `file`, or else from the body itself.

    Raises:
        ProblemError: 413 too large, 400 no whole form although declared as one, 422 nothing sent.
    """
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    is_form = kind == b"multipart/form-data"
    limit = max_bytes + _FORM_OVERHEAD_BYTES if is_form else max_bytes
    chunks = _counted(request, limit=limit, max_bytes=max_bytes)
    if is_form:
        data = await _file_of_form(chunks, boundary=options.get(b"boundary", b""))
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


class _Form:
    """Collects the parts of a form in memory: neither a client's name nor a patient's page may reach a disk."""

    def __init__(self) -> None:
        self.parts: list[tuple[dict[bytes, bytes], bytearray]] = []
        """Options of Content-Disposition, content."""
        self.whole = False
        self._header = bytearray()
        self._value = bytearray()

    def on_part_begin(self) -> None:
        if len(self.parts) == _MAX_PARTS:
            raise _unreadable(f"it has more than {_MAX_PARTS} fields")
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
        self.parts[-1][1].extend(memoryview(data)[start:end])

    def on_end(self) -> None:
        self.whole = True

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


async def _file_of_form(chunks: AsyncIterator[bytes], *, boundary: bytes) -> bytes:
    if not boundary:
        raise _unreadable("its Content-Type names no boundary")
    if len(boundary) > _MAX_BOUNDARY:
        raise _unreadable(f"its boundary has {len(boundary)} characters, at most {_MAX_BOUNDARY}")
    form = _Form()
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
    return form.file()


async def _counted(request: Request, *, limit: int, max_bytes: int) -> AsyncIterator[bytes]:
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared[:20]) > limit:
        raise _too_large(int(declared[:20]), max_bytes)
    received = 0
    async for chunk in request.stream():
        received += len(chunk)
        if received > limit:
            raise _too_large(received, max_bytes)
        yield chunk


def _unreadable(why: str) -> ProblemError:
    return ProblemError(HTTPStatus.BAD_REQUEST, f"the multipart form cannot be read: {why}")


def _too_large(got_bytes: int, max_bytes: int) -> ProblemError:
    return ProblemError(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        f"the picture is larger than {max_bytes} bytes",
        got=f"at least {got_bytes} bytes",
        allowed=f"{max_bytes} bytes",
    )
