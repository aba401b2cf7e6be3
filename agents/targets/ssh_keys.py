"""Proving who we are: private keys, the ssh agent, and asking at a terminal."""

from __future__ import annotations

import getpass
import os
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import paramiko

from lwprof.agents.targets.ssh_settings import Hop
from lwprof.errors import DeviceTransient, HostError

Ask = Callable[[str], str | None]
"""Asks a person for a secret; None when there is nobody to ask."""

_MOST_ASKED = 3
# A server ends the connection after six keys, usually.
_MOST_OFFERED = 6


def ask_at_terminal(question: str) -> str | None:
    """Asks at the terminal, without showing what is typed; None where there is none."""
    if not (sys.stdin and sys.stdin.isatty() and sys.stderr.isatty()):
        return None
    try:
        return getpass.getpass(f"{question}: ", stream=sys.stderr)
    except (EOFError, KeyboardInterrupt):
        return None


class Credentials:
    """The user's keys; what was typed is remembered so that a lost link can come back.

    Args:
        ask: see ``Ask``.

    Attributes:
        busy: whether this side is at work (asking a person, opening a key), so that a
            server's silence means nothing.
    """

    def __init__(self, ask: Ask = ask_at_terminal) -> None:
        self._ask = ask
        self.busy = False
        self._loaded: dict[Path, paramiko.PKey] = {}
        self._passwords: dict[str, str] = {}

    def authenticate(self, device: str, hop: Hop, transport: paramiko.Transport) -> None:
        """Logs in at a server whose host key was accepted; see ``_authenticate``."""
        self.busy = True
        agent = _agent() if hop.agent else None
        try:
            self._authenticate(device, hop, transport, agent)
        finally:
            self.busy = False
            if agent is not None:
                agent.close()

    def _authenticate(
        self, device: str, hop: Hop, transport: paramiko.Transport, agent: paramiko.Agent | None
    ) -> None:
        """Logs in at a server whose host key was accepted.

        Raises:
            HostError: no key is accepted; says which were offered and what to do.
            DeviceTransient: the server went away meanwhile.
        """
        offered: list[str] = []
        encrypted: list[Path] = []
        methods: list[str] = []
        for label, key in self._keys(hop, agent, encrypted):
            offered.append(label)
            if self._try(device, hop, transport, key, methods):
                return
            if len(offered) >= _MOST_OFFERED:
                break
        for path in encrypted:
            key = self._unlock(path)
            if key is not None:
                offered.append(str(path))
                if self._try(device, hop, transport, key, methods):
                    return
        if self._by_password(device, hop, transport, methods):
            return
        tried = ", ".join(offered) or "no key"
        locked = f"; {encrypted[0]} is encrypted: ssh-add it first" if encrypted else ""
        raise HostError(
            f"{device}: {hop.shown} lets none of our keys in (offered: {tried}{locked}): "
            f"'ssh-copy-id{'' if hop.port == 22 else f' -p {hop.port}'} {hop.user}@{hop.host}' "
            "puts yours there"
        )

    def _keys(
        self, hop: Hop, agent: paramiko.Agent | None, encrypted: list[Path]
    ) -> Iterator[tuple[str, paramiko.PKey]]:
        """Keys in the order in which ssh offers them; encrypted ones are noted instead."""
        held = [] if agent is None else list(agent.get_keys())
        ours = {blob for path in hop.identities if (blob := _public(path)) is not None}
        for key in held:
            if key.asbytes() in ours:
                yield "agent", key
        in_agent = {key.asbytes() for key in held}
        for path in hop.identities:
            if not path.is_file() or _public(path) in in_agent:
                continue
            loaded = self._loaded.get(path) or _load(path, None)
            if loaded is None:
                encrypted.append(path)
            else:
                yield str(path), loaded
        if not hop.only_identities:
            for key in held:
                if key.asbytes() not in ours:
                    yield "agent", key

    def _unlock(self, path: Path) -> paramiko.PKey | None:
        for _ in range(_MOST_ASKED):
            phrase = self._ask(f"Passphrase of {path}")
            if not phrase:
                return None
            key = _load(path, phrase.encode())
            if key is not None:
                self._loaded[path] = key
                return key
        return None

    def _by_password(
        self, device: str, hop: Hop, transport: paramiko.Transport, methods: list[str]
    ) -> bool:
        if methods and "password" not in methods:
            return False
        for _ in range(_MOST_ASKED):
            known = self._passwords.get(hop.shown)
            password = known or self._ask(f"Password of {hop.shown}")
            if not password:
                return False
            try:
                self._waiting(partial(transport.auth_password, hop.user, password))
            except paramiko.BadAuthenticationType:
                return False
            except paramiko.AuthenticationException:
                self._passwords.pop(hop.shown, None)
            except (paramiko.SSHException, EOFError, OSError) as error:
                raise _gone(device, hop, error) from None
            else:
                self._passwords[hop.shown] = password
                return True
        return False

    def _waiting(self, work: Callable[[], Any]) -> Any:
        """Does what waits for the server."""
        self.busy = False
        try:
            return work()
        finally:
            self.busy = True

    def _try(
        self,
        device: str, hop: Hop, transport: paramiko.Transport, key: paramiko.PKey,
        methods: list[str],
    ) -> bool:  # fmt: skip
        try:
            further = self._waiting(lambda: transport.auth_publickey(hop.user, key))
        except paramiko.BadAuthenticationType as error:
            methods[:] = error.allowed_types
            return False
        except paramiko.AuthenticationException as error:
            if not transport.is_active():
                raise _gone(device, hop, error) from None
            return False
        except (paramiko.SSHException, EOFError, OSError, ValueError) as error:
            if not transport.is_active():
                raise _gone(device, hop, error) from None
            return False  # a key that cannot sign: the next one may
        if further:
            raise HostError(f"{device}: {hop.shown} wants a second proof of who you are "
                            f"({', '.join(further)}), which lwprof cannot give")  # fmt: skip
        return True


def _gone(device: str, hop: Hop, error: Exception) -> DeviceTransient:
    return DeviceTransient(f"{device}: {hop.shown} went away during the login ({error})")


def _agent() -> paramiko.Agent | None:
    if not os.environ.get("SSH_AUTH_SOCK"):
        return None
    try:
        return paramiko.Agent()
    except (paramiko.SSHException, OSError, EOFError):
        return None  # it is gone


def _public(path: Path) -> bytes | None:
    """The public half of a key, where it lies beside it."""
    try:
        text = Path(f"{path}.pub").read_text(encoding="utf-8", errors="replace")
        blob: bytes = paramiko.pkey.PublicBlob.from_string(text).key_blob
        return blob
    except (OSError, ValueError):
        return None


def _load(path: Path, phrase: bytes | None) -> paramiko.PKey | None:
    """A private key; None when its passphrase is missing or wrong.

    Raises:
        HostError: the file cannot be read.
    """
    try:
        return paramiko.PKey.from_path(path, phrase)
    except TypeError:
        return None  # encrypted, and no passphrase
    except OSError as error:
        raise HostError(f"cannot read the key {path}: {error.strerror or error}") from None
    except (ValueError, paramiko.SSHException, paramiko.pkey.UnknownKeyType) as error:
        if phrase is not None:
            return None
        raise HostError(f"cannot use the key {path}: {error}") from None
