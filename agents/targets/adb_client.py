"""The adb client on this machine: finding it, calling it, and what its answers mean.

Every call is a subprocess with an argument vector and a time limit. Exit codes are not
trusted: adb 29 exits with 0 when the link is lost, and ``adb connect`` always does.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lwprof.errors import DeviceError, DeviceTransient, DeviceUnknown, HostError, LwprofError

_CONNECT_S = 15.0
_START_S = 30.0
_RECONNECT_S = 3.0
_LIST_S = 10.0
# Whoever waits looks this often whether the phone is still there.
_SLICE_S = 2.0

_INSTALL = (
    "install Android's platform-tools (on Debian: apt-get install adb), or pip install adbutils, "
    "which brings a client along"
)
_WHAT_TO_DO = {
    "unauthorized": "unlock the phone and allow USB debugging for this computer in the dialogue "
    "it shows; if none appears, revoke USB debugging authorisations in its developer options and "
    "plug it in again",
    "authorizing": "the phone is still deciding: unlock it and accept the dialogue",
    "offline": "the phone does not answer: plug it in again, or run adb reconnect offline",
    "connecting": "the connection is being made: try again in a moment",
    "no permissions": "this user may not open the USB device: install the package android-udev-"
    "rules or android-sdk-platform-tools-common, log in again and run adb kill-server",
    "recovery": "the phone is in recovery mode: reboot it with adb reboot",
    "sideload": "the phone is in sideload mode: reboot it with adb reboot",
    "bootloader": "the phone is in its bootloader: reboot it with fastboot reboot",
}
_PASSING = ("offline", "authorizing", "connecting")


@dataclass(frozen=True, slots=True)
class Listed:
    """One line of ``adb devices -l``.

    Attributes:
        serial: of the USB device, or ``address:port``.
        state: "device" when it can be used.
        details: what adb tells of it, such as ``model`` and ``product``.
    """

    serial: str
    state: str
    details: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Finished:
    """How a call of the client ended."""

    status: int
    stdout: bytes
    stderr: bytes


def find_adb() -> str:
    """Path of the client: from PATH, the Android SDK, or the PyPI package adbutils.

    Raises:
        HostError: there is none.
    """
    found = shutil.which("adb")
    if found is not None:
        return found
    for variable in ("ANDROID_HOME", "ANDROID_SDK_ROOT"):
        folder = os.environ.get(variable)
        if folder and os.access(Path(folder) / "platform-tools" / "adb", os.X_OK):
            return str(Path(folder) / "platform-tools" / "adb")
    bundled = bundled_adb()
    if bundled is None:
        raise HostError(f"no adb client on this machine: {_INSTALL}")
    return bundled


def bundled_adb() -> str | None:
    """The client that the package adbutils brings along; None without it."""
    package = importlib.util.find_spec("adbutils")
    for folder in (package.submodule_search_locations or []) if package else []:
        file = Path(folder) / "binaries" / "adb"
        if os.access(file, os.X_OK):
            return str(file)
    return None


class AdbClient:
    """Calls one client program.

    Args:
        path: the program; default: see ``find_adb``.
        env: additions to its environment, such as ``ANDROID_ADB_SERVER_PORT``.
    """

    def __init__(self, path: str | None = None, env: Mapping[str, str] | None = None) -> None:
        self.path = path or find_adb()
        # A phone on a TCP port of the emulators' range would be listed twice.
        self._env = {**os.environ, "ADB_LOCAL_TRANSPORT_MAX_PORT": "5554", **(env or {})}
        self._started = False

    @property
    def environment(self) -> dict[str, str]:
        """The environment of every call."""
        return dict(self._env)

    def start(self) -> None:
        """Makes sure that the adb server runs.

        It is given no pipe of ours: the server would inherit it and keep it open.

        Raises:
            HostError: the client does not start, or its server does not.
        """
        if self._started:
            return
        try:
            done = subprocess.run(
                [self.path, "start-server"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL, env=self._env, timeout=_START_S, check=False,
            )  # fmt: skip
        except OSError as error:
            raise HostError(
                f"cannot run {self.path} ({error.strerror or error}): {_INSTALL}"
            ) from None
        except subprocess.TimeoutExpired:
            raise HostError(
                f"the adb server did not start within {_START_S:.0f} s: run adb kill-server"
            ) from None
        if done.returncode != 0:
            raise HostError(
                f"the adb server does not start: run {self.path} start-server to see why"
            )
        self._started = True

    def call(
        self,
        arguments: Sequence[str],
        timeout_s: float,
        still_there: Callable[[], bool] | None = None,
    ) -> Finished:
        """Runs the client to its end.

        Args:
            still_there: asked every two seconds meanwhile; False ends the call.

        Raises:
            DeviceTransient: it took longer, or the phone is silent.
            HostError: it cannot be started.
        """
        self.start()
        try:
            process = subprocess.Popen(
                [self.path, *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                stderr=subprocess.PIPE, env=self._env,
            )  # fmt: skip
        except OSError as error:
            raise HostError(f"cannot run {self.path}: {error.strerror or error}") from None
        deadline = time.monotonic() + timeout_s
        try:
            while True:
                left = deadline - time.monotonic()
                try:
                    out, err = process.communicate(timeout=max(0.0, min(left, _SLICE_S)))
                    return Finished(process.returncode, out, err)
                except subprocess.TimeoutExpired:
                    if left <= _SLICE_S:
                        raise DeviceTransient(
                            f"adb {_what(arguments)} did not end within {timeout_s:.0f} s"
                        ) from None
                    if still_there is not None and not still_there():
                        raise DeviceTransient(
                            f"adb {_what(arguments)}: the phone is silent; check cable and power"
                        ) from None
        finally:
            if process.poll() is None:
                process.kill()
                process.communicate()

    def devices(self) -> list[Listed]:
        """What the adb server knows, in its order.

        Raises:
            HostError: the server does not answer.
        """
        done = self.call(["devices", "-l"], _LIST_S)
        if done.status != 0:
            raise HostError(f"adb devices failed: {_text(done.stderr)}; run adb kill-server")
        return parse_devices(done.stdout.decode("utf-8", "replace"))

    def usable(self, serial: str | None) -> Listed:
        """The phone of that serial (the only one when None), ready for use.

        A serial with a port is connected to first where it is absent.

        Raises:
            DeviceUnknown: none was named and there is not exactly one.
            DeviceError: absent or not usable; says what to do about it.
        """
        listed = self.devices()
        if serial is None:
            return _ready(_only(listed))
        found = [entry for entry in listed if entry.serial == serial]
        if ":" in serial and (not found or found[0].state == "offline"):
            listed = self._reconnected(serial) if found else self._connected(serial)
            found = [entry for entry in listed if entry.serial == serial]
        if not found:
            others = ", ".join(f"{e.serial} ({e.state})" for e in listed) or "none at all"
            raise DeviceTransient(
                f"no phone {serial} is connected (adb sees {others}): plug it in, switch on USB "
                f"debugging in its developer options, and use a cable that carries data"
            )
        return _ready(found[0])

    def _reconnected(self, serial: str) -> list[Listed]:
        """The devices after the server had time to reconnect by itself.

        Connecting in the middle of that can leave adb 36 offline for a minute.
        """
        deadline = time.monotonic() + _RECONNECT_S
        while time.monotonic() < deadline:
            time.sleep(0.2)
            listed = self.devices()
            if not any(e.serial == serial and e.state == "offline" for e in listed):
                return listed
        self.call(["disconnect", serial], _CONNECT_S)
        return self._connected(serial)

    def _connected(self, serial: str) -> list[Listed]:
        """The devices after connecting to one on the network."""
        answer = self.call(["connect", serial], _CONNECT_S)
        text = _text(answer.stdout + answer.stderr)
        if not re.search(r"(already )?connected to", text):
            raise DeviceTransient(
                f"cannot connect to {serial} ({text}): check the address, and that wireless "
                f"debugging is on (newer phones must be paired once with adb pair)"
            )
        return self.devices()


def parse_devices(text: str) -> list[Listed]:
    """The entries of the output of ``adb devices -l``."""
    found = []
    for line in text.splitlines():
        match = re.match(r"(\S+)\s+(no permissions|\S+)(.*)", line)
        if match is None or line.startswith(("List of devices", "*")):
            continue
        details = dict(re.findall(r"(\w+):(\S+)", match[3]))
        found.append(Listed(match[1], match[2], details))
    return found


def _only(listed: Sequence[Listed]) -> Listed:
    if len(listed) == 1:
        return listed[0]
    if not listed:
        raise DeviceTransient(
            "adb sees no phone: plug one in and switch on USB debugging in its developer options"
        )
    names = ", ".join(entry.serial for entry in listed)
    raise DeviceUnknown(f"several phones are connected ({names}): name one by its serial")


def _ready(entry: Listed) -> Listed:
    if entry.state == "device":
        return entry
    kind: type[LwprofError] = DeviceTransient if entry.state in _PASSING else DeviceError
    what = _WHAT_TO_DO.get(entry.state, "it cannot be used in this state")
    raise kind(f"phone {entry.serial} is {entry.state}: {what}")


def _what(arguments: Sequence[str]) -> str:
    """The subcommand of a call, for messages."""
    return arguments[2] if len(arguments) > 2 and arguments[0] == "-s" else arguments[0]


def _text(data: bytes) -> str:
    return " ".join(data.decode("utf-8", "replace").split())[-500:]
