"""Host keys: a server is believed only when its key is one that the user has accepted."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

import paramiko

from lwprof.errors import HostError, UsageError


class UnknownHostKey(HostError):
    """A server's key stands in no file of host keys.

    Attributes:
        name: what the server is called in such a file.
        key: what it showed.
    """

    def __init__(self, message: str, name: str, key: paramiko.PKey) -> None:
        super().__init__(message)
        self.name = name
        self.key = key


class ChangedHostKey(UnknownHostKey):
    """A server shows another key than the one that was accepted."""


def fingerprint(key: paramiko.PKey) -> str:
    """As ``ssh-keygen -l`` prints it: ``SHA256:`` and base64 without padding."""
    digest = hashlib.sha256(key.asbytes()).digest()
    return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


class KnownKeys:
    """The keys of several files in the form of ``known_hosts``; absent files are skipped.

    Raises:
        UsageError: a file cannot be read.
    """

    def __init__(self, files: Iterable[Path]) -> None:
        self._keys: dict[Path, paramiko.HostKeys] = {}
        self._revoked: set[str] = set()
        for path in files:
            if path.is_file():
                self._read(path)

    def _read(self, path: Path) -> None:
        try:
            lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError as error:
            raise UsageError(f"cannot read host keys from {path}: {error.strerror}") from None
        keys = paramiko.HostKeys()
        for line in lines:
            words = line.split()
            if len(words) >= 4 and words[0] == "@revoked":
                self._revoked.add(words[3])
            elif words and not words[0].startswith(("#", "@")):
                _add(keys, line)
        self._keys[path] = keys

    def of(self, name: str) -> list[paramiko.PKey]:
        """All accepted keys of a server."""
        found: list[paramiko.PKey] = []
        for keys in self._keys.values():
            entry = keys.lookup(name)
            found += [] if entry is None else list(entry.values())
        return found

    def preferred(self, name: str, offered: Iterable[str]) -> list[str]:
        """Key algorithms with those first for which a key of the server is known.

        Args:
            offered: algorithms that this side can do.
        """
        known = {key.get_name() for key in self.of(name)}
        known |= {"rsa-sha2-512", "rsa-sha2-256"} if "ssh-rsa" in known else set()
        return sorted(offered, key=lambda algorithm: algorithm not in known)

    def check(self, device: str, name: str, key: paramiko.PKey) -> None:
        """Accepts a server's key or refuses it.

        Raises:
            UnknownHostKey: it has none that was accepted.
            ChangedHostKey: it showed another than the accepted one.
            HostError: the key is revoked.
        """
        shown = f"{key.get_name()} {fingerprint(key)}"
        if key.get_base64() in self._revoked:
            raise HostError(f"{device}: the host key of {name} ({shown}) is revoked")
        known = self.of(name)
        if any(other.asbytes() == key.asbytes() for other in known):
            return
        if not known:
            raise UnknownHostKey(
                f"{device}: the host key of {name} is unknown ({shown}): compare it with "
                f"'ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub' on the device, then "
                f"'lwprof devices accept {device} {fingerprint(key)}'", name, key,
            )  # fmt: skip
        old = ", ".join(fingerprint(other) for other in known)
        raise ChangedHostKey(
            f"{device}: the host key of {name} has CHANGED to {shown} (known: {old}): another "
            f"machine may be answering. Where the device was really set up anew: "
            f"'lwprof devices accept {device} {fingerprint(key)} --replace'", name, key,
        )  # fmt: skip


def _add(keys: paramiko.HostKeys, line: str) -> None:
    """Adds a line's key; a line that cannot be read names no host, so it is passed over."""
    try:
        entry = paramiko.hostkeys.HostKeyEntry.from_line(line)
    except (paramiko.SSHException, paramiko.hostkeys.InvalidHostKey):
        return
    if entry is not None and entry.key is not None:
        for name in entry.hostnames:
            keys.add(name, entry.key.get_name(), entry.key)


def accept(path: Path, name: str, key: paramiko.PKey, *, replace: bool = False) -> None:
    """Writes a server's key into a file of host keys, which is made where it is absent.

    Args:
        replace: drop other keys of this server from the file first.

    Raises:
        HostError: the file cannot be written.
    """
    line = f"{name} {key.get_name()} {key.get_base64()}\n"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        kept = [old for old in text.splitlines() if not (replace and old.split()[:1] == [name])]
        fresh = path.with_name(f".{path.name}.{os.getpid()}")
        fresh.write_text("".join(f"{old}\n" for old in kept) + line, encoding="utf-8")
        os.replace(fresh, path)
    except OSError as error:
        raise HostError(f"cannot write {path}: {error.strerror or error}") from None
