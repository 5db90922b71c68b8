"""One of several processes that answer on a port: `python -m serving.worker`, started by `serving.workers`."""

import json
import os
import signal
import socket
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Final

from serving.server import answer
from serving.settings import ServingSettings
from serving.together import ALIVE, BEGUN, Together
from vizecg.errors import VizecgError

_STDIN: Final = 0


def main() -> None:
    """Answer until the supervisor says that it is enough, or is gone."""
    listening, telling = map(int, sys.argv[1:3])
    os.set_blocking(telling, False)
    with open(_STDIN, "rb", buffering=0, closefd=False) as told:
        asked = json.loads(told.readline())
    threading.Thread(target=_end_with_supervisor, name="vizecg-supervised", daemon=True).start()
    together = Together(folder=Path(asked["folder"]), place=asked["place"], replaces=asked["replaces"])
    together.count_together()
    try:
        answer(
            ServingSettings.model_validate(asked["settings"]),
            socket.socket(fileno=listening),
            begun=lambda: _tell(telling, BEGUN),
            alive=lambda: _tell(telling, ALIVE),
            together=together,
        )
    except VizecgError as error:
        _tell(telling, str(error).encode())  # the supervisor says it once for all
        sys.exit(error.exit_code)


def _end_with_supervisor() -> None:
    """Its end closes our standard input, however it ends; then we finish what we have accepted, as on SIGTERM."""
    while os.read(_STDIN, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def _tell(descriptor: int, message: bytes) -> None:
    # The supervisor is gone, and we end, too; or it listens no more, for which no request shall wait.
    with suppress(BrokenPipeError, BlockingIOError):
        os.write(descriptor, message)


if __name__ == "__main__":
    main()
