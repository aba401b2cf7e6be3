"""From settings to an authenticated transport, through any number of jump hosts."""

from __future__ import annotations

import contextlib
import errno
import logging
import shlex
import socket
import subprocess
import threading
import time
from dataclasses import dataclass
from typing import Any

import paramiko

from lwprof.agents.targets.ssh_guard import Guard, Watched, guard_tcp
from lwprof.agents.targets.ssh_host_keys import KnownKeys
from lwprof.agents.targets.ssh_keys import Credentials
from lwprof.agents.targets.ssh_settings import Hop, SshSettings, hops
from lwprof.errors import DeviceTransient, HostError, HostTransient, LwprofError

# paramiko prints tracebacks for servers that merely do not answer.
logging.getLogger("paramiko").addHandler(logging.NullHandler())
logging.getLogger("paramiko").propagate = False

# A little early, so that the caller knows within the promised time.
_PATIENCE = 0.9


@dataclass(frozen=True, slots=True)
class Way:
    """An open way to a device: the transport of each server on it, the device's last."""

    hops: tuple[Hop, ...]
    transports: tuple[paramiko.Transport, ...]
    guards: tuple[Guard, ...]

    @property
    def transport(self) -> paramiko.Transport:
        """The device's own."""
        return self.transports[-1]

    @property
    def alive(self) -> bool:
        """Whether no server on the way is known to be gone."""
        return all(transport.is_active() for transport in self.transports)

    @property
    def silent(self) -> bool:
        """Whether it was given up because a server had gone silent."""
        return any(guard.tripped for guard in self.guards)

    def close(self) -> None:
        """Ends everything; never waits for a server."""
        for guard in self.guards:
            guard.stop()
        for transport in reversed(self.transports):
            with contextlib.suppress(Exception):
                transport.close()


def connect(device: str, settings: SshSettings, credentials: Credentials) -> Way:
    """Opens a way to a device, once: trying again is the caller's decision.

    Raises:
        UnknownHostKey, ChangedHostKey: see ``ssh_host_keys``.
        HostError: no key is let in, or this machine cannot reach anything.
        HostTransient: the network of this machine is down at the moment.
        DeviceTransient: a server refuses, does not answer, or went away.
        UsageError: ssh's configuration is wrong.
    """
    found = hops(settings)
    transports: list[paramiko.Transport] = []
    guards: list[Guard] = []
    try:
        for hop in found:
            sock = _socket(device, hop, transports[-1] if transports else None, settings)
            transport, guard = _greet(device, hop, sock, settings.silence_s, credentials)
            transports.append(transport)
            guards.append(guard)
            _check_key(device, hop, transport)
            credentials.authenticate(device, hop, transport)
    except BaseException as error:
        tripped = any(guard.tripped for guard in guards)
        Way(found, tuple(transports), tuple(guards)).close()
        if tripped and isinstance(error, DeviceTransient):
            raise DeviceTransient(
                f"{device}: {found[len(guards) - 1].shown} was silent for {settings.silence_s:g} s "
                "during the login: is it overloaded, or the link cut?"
            ) from None
        raise
    return Way(found, tuple(transports), tuple(guards))


def _socket(
    device: str, hop: Hop, through: paramiko.Transport | None, settings: SshSettings
) -> Any:
    if through is not None:
        try:
            return through.open_channel(
                "direct-tcpip", (hop.host, hop.port), ("127.0.0.1", 0), timeout=settings.silence_s
            )
        except (paramiko.SSHException, EOFError, OSError) as error:
            if isinstance(error, paramiko.ChannelException) and error.code == 1:
                raise HostError(f"{device}: the jump host forbids connections to {hop.host}: "
                                "set AllowTcpForwarding yes there") from None  # fmt: skip
            raise DeviceTransient(
                f"{device}: the jump host cannot reach {hop.host} port {hop.port} ({error})"
            ) from None
    if hop.proxy_command is not None:
        return _program(device, hop.proxy_command)
    return _tcp(device, hop, settings.silence_s)


def _program(device: str, command: str) -> socket.socket:
    """A socket to the standard streams of a program of the user's own configuration."""
    ours, its = socket.socketpair()
    try:
        # It ends when our side of the pair does; a thread reaps it.
        process = subprocess.Popen(
            shlex.split(command), stdin=its.fileno(), stdout=its.fileno(),
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
    except (OSError, ValueError) as error:
        ours.close()
        raise HostError(f"{device}: cannot run ProxyCommand ({error})") from None
    finally:
        its.close()
    threading.Thread(target=process.wait, daemon=True, name="lwprof-proxy").start()
    return ours


def _tcp(device: str, hop: Hop, silence_s: float) -> socket.socket:
    try:
        sock = socket.create_connection((hop.host, hop.port), _PATIENCE * silence_s)
    except TimeoutError:
        raise DeviceTransient(f"{device}: {hop.host} port {hop.port} does not answer: is it "
                              "switched on and on this network?") from None  # fmt: skip
    except socket.gaierror as error:
        passing = error.errno == socket.EAI_AGAIN
        raise (HostTransient if passing else HostError)(f"{device}: cannot look up {hop.host!r} ({error.strerror}): check the name, or "
                   "use its address") from None  # fmt: skip
    except ConnectionRefusedError:
        raise DeviceTransient(
            f"{device}: {hop.host} refuses connections to port {hop.port}: is sshd running "
            "there, or still starting?"
        ) from None
    except OSError as error:
        text = f"{device}: cannot reach {hop.host} ({error.strerror or error})"
        if error.errno == errno.EHOSTUNREACH:
            raise DeviceTransient(text) from None
        raise HostTransient(text) from None
    guard_tcp(sock, silence_s)
    return sock


def _greet(
    device: str, hop: Hop, sock: Any, silence_s: float, credentials: Credentials
) -> tuple[paramiko.Transport, Guard]:
    """Agrees on algorithms and keys; the server has then shown its host key."""
    watched = Watched(sock)
    try:
        transport = paramiko.Transport(watched)
    except (paramiko.SSHException, EOFError, OSError) as error:
        sock.close()
        raise DeviceTransient(f"{device}: {hop.shown} ended the connection ({error})") from None
    transport.daemon = True
    patience = _PATIENCE * silence_s
    transport.banner_timeout = transport.handshake_timeout = patience
    transport.auth_timeout = transport.channel_timeout = max(30.0, silence_s)
    known = KnownKeys(hop.known_hosts)
    options = transport.get_security_options()
    options.key_types = tuple(known.preferred(hop.key_name, options.key_types))
    over = time.monotonic() + patience
    try:
        transport.start_client(timeout=patience)
    except (paramiko.SSHException, EOFError, OSError) as error:
        transport.close()
        if time.monotonic() >= over - 0.1 * patience:
            raise _mute(device, hop) from None
        raise DeviceTransient(
            f"{device}: {hop.shown} does not speak ssh as it should ({error or 'it hung up'})"
        ) from None
    if not transport.initial_kex_done:
        transport.close()
        raise _mute(device, hop)
    return transport, Guard(transport, watched, silence_s, lambda: credentials.busy)


def _mute(device: str, hop: Hop) -> LwprofError:
    return DeviceTransient(f"{device}: {hop.shown} accepts connections but says nothing: is its "
                           "sshd hung, or the link cut?")  # fmt: skip


def _check_key(device: str, hop: Hop, transport: paramiko.Transport) -> None:
    try:
        key = transport.get_remote_server_key()
    except paramiko.SSHException as error:
        raise DeviceTransient(f"{device}: {hop.shown} went away ({error})") from None
    KnownKeys(hop.known_hosts).check(device, hop.key_name, key)
