"""Asking a Raspberry Pi's firmware through its mailbox, without starting a program.

The request that ``vcgencmd`` makes: property tag 0x00030080 through ``/dev/vcio``. Below a
fake root, and where the mailbox may not be opened, the program itself is started instead,
which is too dear for each sample of a timed window.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import struct
import subprocess
from typing import Optional

from ..system import place, sysroot

# The first exists on newer kernels and allows nothing but these requests.
_DEVICES = ("/dev/vcio_gencmd", "/dev/vcio")
_TAG = 0x00030080
_TEXT_BYTES = 1024
_PROGRAM_S = 2.0
_WORDS = 6  # size, code, tag, size of the value, length of the request, error
# _IOWR(100, 0, char *): direction 3, size of a pointer, type 100, number 0.
_IOCTL = (3 << 30) | (struct.calcsize("P") << 16) | (100 << 8)


class Firmware:
    """The firmware's command interface; ``direct`` says whether it costs no new process."""

    def __init__(self) -> None:
        self._handle: Optional[int] = None
        self._program: Optional[str] = None
        if sysroot():
            given = place("/usr/bin/vcgencmd")
            self._program = given if os.access(given, os.X_OK) else None
            return
        for device in _DEVICES:
            try:
                self._handle = os.open(device, os.O_RDONLY | os.O_CLOEXEC)
                return
            except OSError:
                continue
        self._program = shutil.which("vcgencmd")

    @property
    def direct(self) -> bool:
        """Whether the mailbox is open."""
        return self._handle is not None

    @property
    def there(self) -> bool:
        """Whether it can be asked at all."""
        return self._handle is not None or self._program is not None

    def ask(self, command: str) -> bytes:
        """The firmware's answer.

        Raises:
            OSError: it cannot be asked.
        """
        if self._handle is not None:
            return self._mailbox(command.encode("ascii"))
        if self._program is None:
            raise OSError("no vcgencmd and no /dev/vcio")
        try:
            done = subprocess.run(
                [self._program] + command.split(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                timeout=_PROGRAM_S,
                check=False,
            )
        except subprocess.SubprocessError as error:
            raise OSError("vcgencmd: %s" % error) from None
        return done.stdout

    def _mailbox(self, command: bytes) -> bytes:
        size = 4 * _WORDS + _TEXT_BYTES + 4
        head = struct.pack("<6I", size, 0, _TAG, _TEXT_BYTES, 0, 0)
        message = bytearray(head + command.ljust(_TEXT_BYTES, b"\0") + b"\0\0\0\0")
        assert self._handle is not None
        fcntl.ioctl(self._handle, _IOCTL, message, True)
        if struct.unpack_from("<I", message, 20)[0] != 0:
            raise OSError("the firmware refused %r" % command.decode("ascii"))
        return bytes(message[4 * _WORDS : 4 * _WORDS + _TEXT_BYTES]).split(b"\0", 1)[0]

    def close(self) -> None:
        """Closes the mailbox."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None
