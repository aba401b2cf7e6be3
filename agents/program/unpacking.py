"""The program's own files, unpacked and compiled once, so that workers start fast.

Python keeps no compiled code for modules inside a zip: each worker would compile them
again, which takes a slow board a good part of a second.
"""

from __future__ import annotations

import compileall
import contextlib
import os
import py_compile
import shutil
import sys
import tempfile
import zipfile
from typing import List


def worker_command(workdir: str, sha256: str) -> List[str]:
    """How to start this program again, without the command word.

    Args:
        workdir: the unpacked files go to ``program-HASH`` in it.
        sha256: of the running program's file; empty when it does not run from a zip.
    """
    start = [sys.executable, "-I", "-u"]
    program = os.path.abspath(sys.argv[0])
    folder = os.path.join(workdir, "program-" + sha256[:16])
    if not sha256 or not zipfile.is_zipfile(program):
        return start + [program]
    if not os.path.isdir(folder):
        # Whole or not at all: another agent may do the same at this moment.
        fresh = tempfile.mkdtemp(prefix="unpacking-", dir=workdir)
        with zipfile.ZipFile(program) as archive:
            archive.extractall(fresh)
        compileall.compile_dir(
            fresh, quiet=2, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH
        )
        with contextlib.suppress(OSError):
            os.rename(fresh, folder)
        shutil.rmtree(fresh, ignore_errors=True)
    return start + [folder]
