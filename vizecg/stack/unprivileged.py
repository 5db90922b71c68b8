"""`python -m vizecg.stack.unprivileged FOLDER PROGRAM ARGUMENT…`: a program that refuses to run as root.

For root it runs as `nobody`, who may not enter the folders above a checkout. So the folder is
opened first and handed on: `/proc/self/fd/N` leads into it whatever lies above. `{folder}` in
an argument stands for that way, or for the folder itself where nobody is root.
"""

import os
import pwd
import sys
from pathlib import Path
from typing import Final

UNPRIVILEGED: Final = "nobody"


def main() -> None:
    """Become the program."""
    folder, program, *arguments = sys.argv[1:]
    place = folder
    if os.getuid() == 0:
        opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        os.set_inheritable(opened, True)
        place = f"/proc/self/fd/{opened}"
        _give_to_nobody(Path(folder))
        account = pwd.getpwnam(UNPRIVILEGED)
        os.chdir("/")
        os.setgroups([])
        os.setgid(account.pw_gid)
        os.setuid(account.pw_uid)
    given = [argument.replace("{folder}", place) for argument in arguments]
    os.execv(program, [program, *given])  # noqa: S606 (a list of arguments of ours)


def _give_to_nobody(folder: Path) -> None:
    """The folder and what lies directly in it; what the program makes in there is its own."""
    account = pwd.getpwnam(UNPRIVILEGED)
    for path in (folder, *folder.iterdir()):
        os.chown(path, account.pw_uid, account.pw_gid)


if __name__ == "__main__":
    main()
