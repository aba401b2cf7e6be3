"""The services of the stand-in for adbd: shells, files, sockets."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import stat
import struct
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

from adbd_double import Closed, Phone, Stream

_STDIN, _STDOUT, _STDERR, _EXIT, _CLOSE_STDIN = 0, 1, 2, 3, 4
_STAT2 = struct.Struct("<4sIQQIIIIQqqq")
_CHUNK = 1 << 16

Serve = Callable[[Stream], None]


def find(service: str) -> Serve | None:
    """What serves an OPEN; None refuses it."""
    name, _, argument = service.partition(":")
    kinds = name.split(",")
    if kinds[0] == "shell" and "v2" in kinds:
        return lambda stream: _shell_v2(stream, argument)
    if kinds[0] in ("shell", "exec"):
        return lambda stream: _shell_v1(stream, argument)
    if name == "sync":
        return _sync
    if name == "tcp":
        return lambda stream: _forward(stream, ("127.0.0.1", int(argument.split(":")[0])))
    if name == "localabstract":
        return lambda stream: _forward(stream, "\0" + argument)
    return None


def _start(phone: Phone, command: str, stderr: int) -> subprocess.Popen[bytes]:
    inner = _emulated(phone, re.sub(r"(?<![\w./-])/data/", f"{phone.root}/data/", command))
    return subprocess.Popen(
        ["/bin/sh", "-c", inner], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr,
        cwd="/", start_new_session=True, bufsize=0,
    )  # fmt: skip


def _emulated(phone: Phone, command: str) -> str:
    """A command whose program is of another machine runs under that machine's emulator."""
    word = re.match(r"[^\s;]+", command)
    file = Path(word[0]) if word else Path()
    with contextlib.suppress(OSError):
        if word and phone.emulator and file.is_file() and os.access(file, os.X_OK):
            with file.open("rb") as opened:
                head = opened.read(20)
            machine = struct.unpack_from("<H", head, 18)[0] if head[:4] == b"\x7fELF" else 0
            if machine in phone.emulator:
                return f"{phone.emulator[machine]} {command}"
    return command


def _shell_v1(stream: Stream, command: str) -> None:
    process = _start(stream.phone, command, subprocess.STDOUT)
    assert process.stdin and process.stdout
    pump = threading.Thread(target=_feed_raw, args=(stream, process), daemon=True)
    pump.start()
    try:
        while data := process.stdout.read(_CHUNK):
            stream.write(data)
        process.wait()
        stream.flush()
    finally:
        _end(process)


def _feed_raw(stream: Stream, process: subprocess.Popen[bytes]) -> None:
    assert process.stdin
    with contextlib.suppress(OSError, Closed):
        while data := stream.read():
            _write(process, data)
    _hang_up(process)


def _shell_v2(stream: Stream, command: str) -> None:
    process = _start(stream.phone, command, subprocess.PIPE)
    assert process.stdout and process.stderr
    lock = threading.Lock()

    def carry(kind: int, pipe: int) -> None:
        with contextlib.suppress(OSError, Closed):
            while data := os.read(pipe, _CHUNK):
                with lock:
                    stream.write(struct.pack("<BI", kind, len(data)) + data)

    threading.Thread(target=_feed_v2, args=(stream, process), daemon=True).start()
    error = threading.Thread(target=carry, args=(_STDERR, process.stderr.fileno()), daemon=True)
    error.start()
    try:
        carry(_STDOUT, process.stdout.fileno())
        error.join()
        status = process.wait()
        code = 128 - status if status < 0 else status
        with lock:
            stream.write(struct.pack("<BIB", _EXIT, 1, code & 0xFF))
            stream.flush()
    finally:
        _end(process)


def _feed_v2(stream: Stream, process: subprocess.Popen[bytes]) -> None:
    assert process.stdin
    with contextlib.suppress(OSError, Closed):
        while True:
            kind, length = struct.unpack("<BI", stream.exactly(5))
            data = stream.exactly(length)
            if kind == _STDIN:
                _write(process, data)
            elif kind == _CLOSE_STDIN:
                process.stdin.close()
    _hang_up(process)


def _write(process: subprocess.Popen[bytes], data: bytes) -> None:
    assert process.stdin
    with contextlib.suppress(BrokenPipeError, ValueError):
        view = memoryview(data)
        while view:
            view = view[process.stdin.write(view) or 0 :]


def _hang_up(process: subprocess.Popen[bytes]) -> None:
    """The client is gone: the shell gets SIGHUP and the end of its input, as from adbd."""
    with contextlib.suppress(OSError, ValueError):
        assert process.stdin
        process.stdin.close()
    if process.poll() is None:
        with contextlib.suppress(OSError):
            process.send_signal(signal.SIGHUP)


def _end(process: subprocess.Popen[bytes]) -> None:
    _hang_up(process)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(10)
    for pipe in (process.stdout, process.stderr):
        if pipe:
            pipe.close()


def _forward(stream: Stream, address: tuple[str, int] | str) -> None:
    family = socket.AF_INET if isinstance(address, tuple) else socket.AF_UNIX
    with socket.socket(family) as inner:
        inner.connect(address)

        def pump() -> None:
            with contextlib.suppress(OSError, Closed):
                while data := stream.read():
                    inner.sendall(data)
            with contextlib.suppress(OSError):
                inner.shutdown(socket.SHUT_RDWR)

        threading.Thread(target=pump, daemon=True).start()
        while data := inner.recv(_CHUNK):
            stream.write(data)
        stream.flush()


def _sync(stream: Stream) -> None:
    while True:
        kind, length = struct.unpack("<4sI", stream.exactly(8))
        argument = stream.exactly(length).decode()
        if kind == b"QUIT":
            return
        _SYNC[kind](stream, argument)


def _stat(stream: Stream, remote: str) -> None:
    try:
        found = stream.phone.path(remote).lstat()
        fields = (found.st_mode, min(found.st_size, 0xFFFFFFFF), int(found.st_mtime))
    except OSError:
        fields = (0, 0, 0)
    stream.write(struct.pack("<4sIII", b"STAT", *fields))


def _stat2(stream: Stream, remote: str, *, follow: bool) -> None:
    kind = b"STA2" if follow else b"LST2"
    try:
        found = os.stat(stream.phone.path(remote), follow_symlinks=follow)
    except OSError as error:
        stream.write(_STAT2.pack(kind, error.errno or 5, *(0,) * 10))
        return
    stream.write(_pack_stat2(kind, found))


def _pack_stat2(kind: bytes, found: os.stat_result) -> bytes:
    return _STAT2.pack(
        kind, 0, found.st_dev, found.st_ino, found.st_mode, found.st_nlink, found.st_uid,
        found.st_gid, found.st_size, int(found.st_atime), int(found.st_mtime), int(found.st_ctime),
    )  # fmt: skip


def _list(stream: Stream, remote: str, *, v2: bool) -> None:
    entries = []
    with contextlib.suppress(OSError):
        folder = stream.phone.path(remote)
        entries = [(name, (folder / name).lstat()) for name in sorted(os.listdir(folder))]
    for name, found in entries:
        raw = name.encode()
        if v2:
            head = _pack_stat2(b"DNT2", found)
        else:
            size, changed = min(found.st_size, 0xFFFFFFFF), int(found.st_mtime)
            head = struct.pack("<4sIII", b"DENT", found.st_mode, size, changed)
        stream.write(head + struct.pack("<I", len(raw)) + raw)
    stream.write(b"DONE" + bytes(72 if v2 else 16))


def _receive(stream: Stream, remote: str) -> None:
    try:
        with stream.phone.path(remote).open("rb") as file:
            while data := file.read(_CHUNK):
                stream.write(struct.pack("<4sI", b"DATA", len(data)) + data)
    except OSError as error:
        _fail(stream, f"open failed: {error.strerror}")
        return
    stream.write(struct.pack("<4sI", b"DONE", 0))


def _send(stream: Stream, argument: str) -> None:
    remote, _, mode = argument.rpartition(",")
    target = stream.phone.path(remote)
    bits = stat.S_IMODE(int(mode))
    bits |= (bits >> 3) & 0o070 | (bits >> 6) & 0o007  # the user's bits go to everybody
    failure, file = None, None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        file = target.open("wb")
    except OSError as error:
        failure = f"couldn't create file: {error.strerror}"
        _fail(stream, failure)  # told at once; what was sent already is drained
    done = False
    try:
        while True:
            kind, value = struct.unpack("<4sI", stream.exactly(8))
            if kind == b"DONE":
                break
            data = stream.exactly(value)
            if file:
                file.write(data)
        done = True
    finally:
        if file:
            file.close()
            target.chmod(bits) if done else target.unlink()
    if failure is None:
        stream.write(struct.pack("<4sI", b"OKAY", 0))


def _fail(stream: Stream, why: str) -> None:
    stream.write(struct.pack("<4sI", b"FAIL", len(why)) + why.encode())


_SYNC: dict[bytes, Callable[[Stream, str], None]] = {
    b"STAT": _stat,
    b"STA2": lambda stream, path: _stat2(stream, path, follow=True),
    b"LST2": lambda stream, path: _stat2(stream, path, follow=False),
    b"LIST": lambda stream, path: _list(stream, path, v2=False),
    b"LIS2": lambda stream, path: _list(stream, path, v2=True),
    b"RECV": _receive,
    b"SEND": _send,
}
