"""How a device is reached by ssh: what the user said, and what ssh's configuration adds."""

from __future__ import annotations

import getpass
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lwprof.errors import UsageError

_ASK_S = 10.0
_MOST_INCLUDES = 16
_MOST_HOPS = 8
_NONE = ("", "none")
_HOP = re.compile(
    r"(?:ssh://)?(?:(?P<user>[^@\s]+)@)?(?:\[(?P<six>[^]]+)\]|(?P<host>[^:@\[\]\s]+))"
    r"(?::(?P<port>\d{1,5}))?/?"
)
_DEFAULT_KEYS = ("id_ed25519", "id_ecdsa", "id_rsa")


@dataclass(frozen=True, slots=True)
class SshSettings:
    """What the user said about a device; ssh's own configuration fills the gaps.

    Attributes:
        host: a host name, address, or a ``Host`` of ssh's configuration.
        user: None: as configured, else the user who runs this.
        port: None: as configured, else 22.
        jump: ``user@host:port``, several separated by commas; None: as configured.
        identity: a private key to use first.
        known_hosts: host keys that the user accepted for lwprof, beside ssh's own files.
        config: ssh's configuration file; None: the user's and the system's.
        python: the device's interpreter; None: that of the work folder's virtual
            environment, else ``python3``.
        workdir: folder on the device; None: ``~/.cache/lwprof`` there.
        leases: folder on the device that all its users share for the lease.
        silence_s: a peer that sends nothing for so long is taken for lost.
        resume_s: how long a lost link is tried again (a board may be rebooting).
    """

    host: str
    user: str | None = None
    port: int | None = None
    jump: str | None = None
    identity: Path | None = None
    known_hosts: Path | None = None
    config: Path | None = None
    python: str | None = None
    workdir: str | None = None
    leases: str = "/tmp/lwprof-leases"
    silence_s: float = 5.0
    resume_s: float = 180.0


@dataclass(frozen=True, slots=True)
class Hop:
    """One server on the way, ready to be connected to.

    Attributes:
        host: name or address to connect to.
        key_name: what it is called in files of host keys.
        identities: private keys in the order in which to offer them; not all may exist.
        agent: whether keys of the ssh agent may be used.
        only_identities: offer no key of the agent that is not among ``identities``.
        known_hosts: files of host keys.
        proxy_command: program whose standard streams are the connection.
    """

    host: str
    port: int
    user: str
    key_name: str
    identities: tuple[Path, ...]
    agent: bool
    only_identities: bool
    known_hosts: tuple[Path, ...]
    proxy_command: str | None = None

    @property
    def shown(self) -> str:
        """The server for messages."""
        return f"{self.user}@{self.host}" + ("" if self.port == 22 else f":{self.port}")


def hops(settings: SshSettings) -> tuple[Hop, ...]:
    """The servers to go through, the device last.

    Raises:
        UsageError: ssh's configuration cannot be understood, or goes in a circle.
    """
    return _hops(settings, seen=())


def _hops(settings: SshSettings, seen: tuple[tuple[str, int | None], ...]) -> tuple[Hop, ...]:
    here = (settings.host, settings.port)
    if here in seen or len(seen) >= _MOST_HOPS:
        way = " -> ".join(name for name, _ in (*seen, here))
        raise UsageError(f"the jump hosts go in a circle ({way}): correct ProxyJump or --jump")
    found = configured(settings)
    before: tuple[Hop, ...] = ()
    jump = _first(found, "proxyjump")
    if jump:
        first, *others = [part.strip() for part in jump.split(",")][::-1]
        nearer = _jump_settings(settings, first, ",".join(others[::-1]) or None)
        before = _hops(nearer, (*seen, here))
    return (*before, _hop(settings, found))


def _jump_settings(settings: SshSettings, text: str, jump: str | None) -> SshSettings:
    match = _HOP.fullmatch(text)
    if match is None:
        raise UsageError(f"cannot read the jump host {text[:80]!r} as user@host:port")
    port = int(match["port"]) if match["port"] else None
    return SshSettings(
        match["six"] or match["host"], match["user"], port, jump, settings.identity,
        settings.known_hosts, settings.config, silence_s=settings.silence_s,
    )  # fmt: skip


def _hop(settings: SshSettings, found: Mapping[str, Sequence[str]]) -> Hop:
    host = _first(found, "hostname") or settings.host
    port = settings.port or int(_first(found, "port") or 22)
    user = settings.user or _first(found, "user") or getpass.getuser()
    tokens = {"h": host, "p": str(port), "r": user, "n": settings.host, "u": getpass.getuser(),
              "d": str(Path.home()), "%": "%"}  # fmt: skip
    identities = [_path(text, tokens) for text in found.get("identityfile", ())]
    if settings.identity is not None:
        identities = [settings.identity, *(key for key in identities if key != settings.identity)]
    files = [] if settings.known_hosts is None else [settings.known_hosts]
    for key in ("userknownhostsfile", "globalknownhostsfile"):
        for line in found.get(key, ()):
            files += [_path(name, tokens) for name in line.split() if name not in _NONE]
    command = _first(found, "proxycommand")
    alias = _first(found, "hostkeyalias")
    return Hop(
        host=host,
        port=port,
        user=user,
        key_name=alias or (host if port == 22 else f"[{host}]:{port}"),
        identities=tuple(identities),
        agent=(_first(found, "identityagent") or "SSH_AUTH_SOCK") != "none",
        only_identities=_first(found, "identitiesonly") == "yes",
        known_hosts=tuple(files),
        proxy_command=_expand(command, tokens) if command not in (None, *_NONE) else None,
    )


def configured(settings: SshSettings) -> dict[str, list[str]]:
    """What ssh's configuration says of a host: values by key in lower case.

    ``ssh -G`` where the client is installed, since nothing else follows Include and Match as
    it does; else paramiko's reader.

    Raises:
        UsageError: the configuration is wrong; says where.
    """
    if settings.host.startswith("-"):
        raise UsageError(f"{settings.host[:80]!r} is no host name or address")
    ssh = shutil.which("ssh")
    if ssh is None:
        return _read_without_ssh(settings)
    command = [ssh, "-G"]
    for flag, value in (("-F", settings.config), ("-p", settings.port), ("-l", settings.user),
                        ("-J", settings.jump)):  # fmt: skip
        if value is not None:
            command += [flag, str(value)]
    try:
        done = subprocess.run(
            [*command, "--", settings.host], stdin=subprocess.DEVNULL, capture_output=True,
            text=True, errors="replace", timeout=_ASK_S, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UsageError(f"'ssh -G {settings.host}' failed ({error}): try it by hand") from None
    if done.returncode != 0:
        raise UsageError(f"ssh refuses its configuration for {settings.host!r}: "
                         f"{done.stderr.strip().splitlines()[-1:] or done.returncode}; try "
                         f"'ssh -G {settings.host}'")  # fmt: skip
    found: dict[str, list[str]] = {}
    for line in done.stdout.splitlines():
        key, _, value = line.partition(" ")
        if value.strip().lower() != "none" or key == "identityagent":
            found.setdefault(key.lower(), []).append(value.strip())
    return found


def _read_without_ssh(settings: SshSettings) -> dict[str, list[str]]:
    import paramiko

    folder = Path.home() / ".ssh"
    path = settings.config or folder / "config"
    found: dict[str, list[str]] = {
        "userknownhostsfile": [str(folder / "known_hosts")],
        "globalknownhostsfile": ["/etc/ssh/ssh_known_hosts"],
    }
    if path.is_file():
        try:
            config = paramiko.SSHConfig.from_text("\n".join(_with_includes(path, folder)))
            entries = config.lookup(settings.host)
        except (paramiko.SSHException, OSError, KeyError, ValueError) as error:
            raise UsageError(f"cannot read {path}: {error}; correct it, or install the "
                             "ssh client, which reads all of it") from None  # fmt: skip
        for key, value in entries.items():
            found[key] = list(value) if isinstance(value, list) else [str(value)]
    if settings.jump is not None:
        found["proxyjump"] = [settings.jump]
        found.pop("proxycommand", None)
    found.setdefault("identityfile", [str(folder / name) for name in _DEFAULT_KEYS])
    return found


def _with_includes(path: Path, folder: Path, depth: int = 0) -> list[str]:
    """Lines of a configuration with those of the files that it includes."""
    if depth > _MOST_INCLUDES:
        raise UsageError(f"{path}: Include goes deeper than {_MOST_INCLUDES} files")
    lines: list[str] = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        words = line.strip().replace("=", " ", 1).split()
        if not words or words[0].lower() != "include":
            lines.append(line)
            continue
        for pattern in words[1:]:
            full = Path(pattern.strip('"')).expanduser()
            full = full if full.is_absolute() else folder / full
            for included in sorted(full.parent.glob(full.name)):
                lines += _with_includes(included, folder, depth + 1)
    return lines


def _first(found: Mapping[str, Sequence[str]], key: str) -> str | None:
    values = found.get(key) or ()
    return values[0] if values else None


def _path(text: str, tokens: Mapping[str, str]) -> Path:
    return Path(_expand(text.strip('"'), tokens)).expanduser()


def _expand(text: str, tokens: Mapping[str, str]) -> str:
    """``%h`` and the like replaced; unknown ones stay."""
    return re.sub(r"%(.)", lambda match: tokens.get(match[1], match[0]), text)
