"""A stand-in for the phone's side of the adb protocol, for the real adb client to talk to.

It speaks what AOSP's ``packages/modules/adb`` documents (protocol.txt, SERVICES.TXT,
SYNC.TXT) over TCP, runs commands on this machine with the phone's folders below a root of
its own, and can fail the two ways links fail: dropped, and mute. Whatever is measured
through it is marked synthetic.
"""

from __future__ import annotations

import base64
import contextlib
import os
import queue
import socket
import struct
import threading
from collections.abc import Callable
from pathlib import Path

_HEADER = struct.Struct("<4sIIIII")
_VERSION = 0x01000001
_MAX_DATA = 1 << 20
_TOKEN, _SIGNATURE, _PUBLIC_KEY = 1, 2, 3
_SHA1_PREFIX = bytes.fromhex("3021300906052b0e03021a05000414")
V2 = ("shell_v2", "stat_v2", "ls_v2", "fixed_push_mkdir")


class Closed(Exception):
    """The stream or its transport is gone."""


class Phone:
    """A phone that listens on a port of this machine.

    Args:
        root: what the phone's ``/data`` lies below.
        features: what it announces; without ``shell_v2`` it is a phone before Android 7.
        auth: "none"; "accept" (any key, as if its user agreed); "deny" (its user does not).
        emulator: ELF machine number to the program that runs such files.
    """

    def __init__(
        self,
        root: Path,
        *,
        features: tuple[str, ...] = V2,
        auth: str = "none",
        emulator: dict[int, str] | None = None,
    ) -> None:
        self.root = root
        self.features = features
        self.auth = auth
        self.emulator = emulator or {}
        self.known_keys: list[tuple[int, int]] = []
        self.speaks = threading.Event()
        self.speaks.set()
        self._transports: list[Transport] = []
        (root / "data/local/tmp").mkdir(parents=True, exist_ok=True)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def serial(self) -> str:
        return f"127.0.0.1:{self.port}"

    def drop(self) -> None:
        """Cuts every transport: the cable is pulled, or adbd restarts."""
        for transport in list(self._transports):
            transport.shut()

    def mute(self) -> None:
        """Stops reading and writing; nobody is told."""
        self.speaks.clear()

    def unmute(self) -> None:
        self.speaks.set()

    def stop(self) -> None:
        self._listener.close()
        self.drop()
        self.unmute()

    def path(self, remote: str) -> Path:
        """Where a path of the phone lies on this machine."""
        return self.root / remote.lstrip("/") if remote.startswith("/data") else Path(remote)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            transport = Transport(self, connection)
            self._transports.append(transport)
            threading.Thread(target=transport.run, daemon=True).start()

    def forget(self, transport: Transport) -> None:
        with contextlib.suppress(ValueError):
            self._transports.remove(transport)


class Transport:
    """One connection of an adb server."""

    def __init__(self, phone: Phone, connection: socket.socket) -> None:
        self.phone = phone
        self.max_data = 4096
        self._socket = connection
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._write_lock = threading.Lock()
        self._streams: dict[int, Stream] = {}
        self._count = 0
        self._token = b""
        self._online = False

    def run(self) -> None:
        try:
            while True:
                command, arg0, arg1, payload = self._read()
                if command in (b"CNXN", b"AUTH"):
                    self._shake_hands(command, arg0, arg1, payload)
                elif self._online:
                    self._dispatch(command, arg0, arg1, payload)
        except (OSError, Closed, struct.error):
            pass
        finally:
            for stream in list(self._streams.values()):
                stream.gone()
            self._socket.close()
            self.phone.forget(self)

    def shut(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def send(self, command: bytes, arg0: int, arg1: int, payload: bytes = b"") -> None:
        self.phone.speaks.wait()
        magic = struct.unpack("<I", command)[0] ^ 0xFFFFFFFF
        # Checksums are unchecked once both sides are of the version that we speak.
        checksum = sum(payload) if command in (b"CNXN", b"AUTH") else 0
        head = _HEADER.pack(command, arg0, arg1, len(payload), checksum, magic)
        with self._write_lock:
            try:
                self._socket.sendall(head + payload)
            except OSError:
                raise Closed from None

    def forget(self, stream: Stream) -> None:
        self._streams.pop(stream.local, None)

    def _read(self) -> tuple[bytes, int, int, bytes]:
        # The checksum is not looked at: a server that reconnects leaves it out.
        command, arg0, arg1, length, _, _ = _HEADER.unpack(self._exactly(_HEADER.size))
        return command, arg0, arg1, self._exactly(length)

    def _exactly(self, size: int) -> bytes:
        data = bytearray()
        while len(data) < size:
            chunk = self._socket.recv(min(size - len(data), 1 << 16))
            self.phone.speaks.wait()
            if not chunk:
                raise Closed
            data += chunk
        return bytes(data)

    def _shake_hands(self, command: bytes, arg0: int, arg1: int, payload: bytes) -> None:
        if command == b"CNXN":
            self.max_data = min(arg1, _MAX_DATA)
            if self.phone.auth == "none":
                return self._connect()
            return self._challenge()
        if arg0 == _SIGNATURE:
            known = any(_signed(payload, self._token, n, e) for n, e in self.phone.known_keys)
            return self._connect() if known else self._challenge()
        if arg0 == _PUBLIC_KEY and self.phone.auth == "accept":
            self.phone.known_keys.append(_public_key(payload))
            return self._connect()
        return None  # nobody touches the dialogue

    def _challenge(self) -> None:
        self._token = os.urandom(20)
        self.send(b"AUTH", _TOKEN, 0, self._token)

    def _connect(self) -> None:
        about = (
            "device::ro.product.name=double;ro.product.model=Double;ro.product.device=double;"
            f"features={','.join(self.phone.features)}"
        )
        self._online = True
        self.send(b"CNXN", _VERSION, _MAX_DATA, about.encode())

    def _dispatch(self, command: bytes, arg0: int, arg1: int, payload: bytes) -> None:
        if command == b"OPEN":
            self._open(arg0, payload.rstrip(b"\0").decode())
            return
        stream = self._streams.get(arg1)
        if stream is None:
            if command == b"WRTE":
                self.send(b"CLSE", arg1, arg0)
        elif command == b"OKAY":
            stream.acknowledged()
        elif command == b"WRTE":
            stream.arrived(payload)
        elif command == b"CLSE":
            stream.gone()

    def _open(self, remote: int, service: str) -> None:
        from adbd_services import find

        serve = find(service)
        if serve is None:
            self.send(b"CLSE", 0, remote)
            return
        self._count += 1
        stream = Stream(self, self._count, remote)
        self._streams[stream.local] = stream
        self.send(b"OKAY", stream.local, remote)
        threading.Thread(target=stream.run, args=(serve,), daemon=True).start()


class Stream:
    """One service in use. One packet is on its way at a time, in each direction."""

    def __init__(self, transport: Transport, local: int, remote: int) -> None:
        self.transport = transport
        self.phone = transport.phone
        self.local, self.remote = local, remote
        self.closed = threading.Event()
        self._inbox: queue.Queue[bytes | None] = queue.Queue()
        self._room = threading.Semaphore(1)
        self._rest = b""

    def run(self, serve: Callable[[Stream], None]) -> None:
        try:
            serve(self)
        except (Closed, OSError):
            pass
        finally:
            with contextlib.suppress(Closed):
                self.close()

    def arrived(self, payload: bytes) -> None:
        self._inbox.put(payload)

    def acknowledged(self) -> None:
        self._room.release()

    def gone(self) -> None:
        """The other side closed it, or the transport ended."""
        self.closed.set()
        self._inbox.put(None)
        self._room.release()
        self.transport.forget(self)
        # adbd answers a CLSE with a CLSE, although protocol.txt says not to.
        with contextlib.suppress(Closed):
            self.transport.send(b"CLSE", self.local, self.remote)

    def close(self) -> None:
        if not self.closed.is_set():
            self.closed.set()
            self._inbox.put(None)
            self._room.release()
            self.transport.forget(self)
            self.transport.send(b"CLSE", self.local, self.remote)

    def write(self, data: bytes) -> None:
        """Sends all of it; blocks while the client does not take it."""
        for start in range(0, len(data), self.transport.max_data):
            self._room.acquire()
            if self.closed.is_set():
                raise Closed
            piece = data[start : start + self.transport.max_data]
            self.transport.send(b"WRTE", self.local, self.remote, piece)

    def flush(self) -> None:
        """Waits until the client has taken what was written."""
        self._room.acquire()
        self._room.release()

    def read(self) -> bytes:
        """What came next; acknowledged now that it is consumed. ``b""`` at the end."""
        payload = self._inbox.get()
        if payload is None:
            return b""
        self.transport.send(b"OKAY", self.local, self.remote)
        return payload

    def exactly(self, size: int) -> bytes:
        while len(self._rest) < size:
            data = self.read()
            if not data:
                raise Closed
            self._rest += data
        found, self._rest = self._rest[:size], self._rest[size:]
        return found


def _public_key(payload: bytes) -> tuple[int, int]:
    """Modulus and exponent of adb's own encoding."""
    raw = base64.b64decode(payload.rstrip(b"\0").split(b" ")[0])
    (words,) = struct.unpack_from("<I", raw)
    modulus = int.from_bytes(raw[8 : 8 + 4 * words], "little")
    return modulus, struct.unpack("<I", raw[-4:])[0]


def _signed(signature: bytes, token: bytes, modulus: int, exponent: int) -> bool:
    """Whether the token was signed, taken as a SHA-1 digest (PKCS#1 v1.5)."""
    size = (modulus.bit_length() + 7) // 8
    end = _SHA1_PREFIX + token
    expected = b"\x00\x01" + b"\xff" * (size - len(end) - 3) + b"\x00" + end
    return pow(int.from_bytes(signature, "big"), exponent, modulus) == int.from_bytes(
        expected, "big"
    )
