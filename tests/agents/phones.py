"""Stand-in phones and adb servers of their own, for tests."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from adbd_double import Phone

from lwprof.agents.targets.adb import WORKDIR, AdbTarget
from lwprof.agents.targets.adb_client import AdbClient, bundled_adb

CLIENTS = {"installed": shutil.which("adb"), "bundled": bundled_adb()}


@contextmanager
def server(client: str, folder: Path) -> Iterator[AdbClient]:
    """A client with a server that no other program uses."""
    path = CLIENTS[client]
    if path is None:
        pytest.skip(f"no {client} adb client: apt-get install adb, pip install adbutils")
    env = {
        "ANDROID_ADB_SERVER_PORT": str(_free_port()), "HOME": str(folder), "ADB_MDNS": "0",
        "ADB_MDNS_AUTO_CONNECT": "0", "ANDROID_USER_HOME": str(folder),
    }  # fmt: skip
    made = AdbClient(path, env)
    try:
        yield made
    finally:
        # A server that still tries to reach a phone that is gone takes its time to leave.
        subprocess.run([path, "kill-server"], env={**os.environ, **env}, check=False,
                       capture_output=True, timeout=90)  # fmt: skip


def target(
    client: AdbClient, phone: Phone, python: str = "python3", *, real_paths: bool = False
) -> AdbTarget:
    """A phone as a target; marked as the stand-in that it is.

    Args:
        real_paths: its work folder by the path on this machine, for programs that open
            files there: only shells and adb itself see the phone's paths.
    """
    workdir = f"{phone.root}{WORKDIR}" if real_paths else WORKDIR
    return AdbTarget(
        "phone", phone.serial, client=client, python=python, workdir=workdir,
        environment="synthetic",
    )  # fmt: skip


def until_listed(client: AdbClient, serial: str, state: str = "device") -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if any(e.serial == serial and e.state == state for e in client.devices()):
            return
        time.sleep(0.1)
    raise AssertionError(f"{serial} did not become {state}: {client.devices()}")


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
