"""The adb target through real adb clients, against a stand-in for the phone's side."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import phones
import pytest
from adbd_double import V2, Phone

from lwprof.agents import Agent
from lwprof.agents.targets import conformance
from lwprof.agents.targets.adb import AdbTarget
from lwprof.agents.targets.adb_client import AdbClient, parse_devices
from lwprof.errors import DeviceError, DeviceTransient, DeviceUnknown, HostError


@pytest.fixture(scope="module", params=sorted(phones.CLIENTS))
def client(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[AdbClient]:
    with phones.server(request.param, tmp_path_factory.mktemp("home")) as made:
        yield made


@pytest.fixture
def phone(tmp_path: Path) -> Iterator[Phone]:
    made = Phone(tmp_path / "phone")
    yield made
    made.stop()


@pytest.fixture(scope="module")
def lasting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Phone]:
    """One phone for all checks that leave it as it was, with the older file protocol."""
    made = Phone(tmp_path_factory.mktemp("phone"), features=("shell_v2",))
    yield made
    made.stop()


@pytest.mark.parametrize("check", conformance.CHECKS, ids=lambda check: check.__name__)
def test_conformance(
    check: Callable[[conformance.Make], None], client: AdbClient, lasting: Phone
) -> None:
    check(lambda: phones.target(client, lasting, sys.executable))


def test_commands_keep_their_status_and_their_streams_apart(
    client: AdbClient, phone: Phone
) -> None:
    with phones.target(client, phone) as target:
        done = target.run(["sh", "-c", "echo out; echo err >&2; exit 7"])
        assert (done.status, done.stdout, done.stderr) == (7, b"out\n", b"err\n")
        assert target.run(["sh", "-c", "kill -9 $$"]).status == 137
        odd = "a b; $(touch /nope) 'c' \"d\" \\ \t*"
        assert target.run(["printf", "%s", odd]).stdout == odd.encode()
        big = target.run(["head", "-c", "3000000", "/dev/zero"])
        assert big.stdout == bytes(3_000_000)


def test_before_android_7_commands_still_tell_their_status(
    client: AdbClient, tmp_path: Path
) -> None:
    phone = Phone(tmp_path, features=())
    try:
        with phones.target(client, phone) as target:
            done = target.run(["sh", "-c", "echo out; exit 7"])
            assert (done.status, done.stdout) == (7, b"out\n")
            with pytest.raises(DeviceError, match="Android 7"):
                target.start(["cat"])
    finally:
        phone.stop()


def test_a_dropped_link_is_no_success(client: AdbClient, phone: Phone) -> None:
    """adb 29 exits with 0 when the link is lost."""
    with phones.target(client, phone) as target:
        target.run(["true"])
        threading.Timer(0.5, phone.drop).start()
        with pytest.raises(DeviceTransient):
            target.run(["sleep", "5"])
        phones.until_listed(client, phone.serial)
        assert target.run(["echo", "back"]).stdout == b"back\n"


def test_a_mute_phone_is_noticed_within_five_seconds(client: AdbClient, phone: Phone) -> None:
    with phones.target(client, phone, sys.executable) as target, Agent(target) as agent:
        agent.ping()
        phone.mute()
        start = time.monotonic()
        with pytest.raises(DeviceTransient, match="silent"):
            agent.ping()
        assert not agent.alive
        # 4.5 s on an idle machine; without asking, 60 s.
        assert time.monotonic() - start < 30
        start = time.monotonic()
        with pytest.raises(DeviceTransient):
            target.run(["sleep", "60"])
        assert time.monotonic() - start < 30


def test_states_are_told_apart_with_what_to_do(client: AdbClient, tmp_path: Path) -> None:
    denied = Phone(tmp_path / "denied", auth="deny")
    try:
        with pytest.raises(DeviceError, match="unlock the phone and allow"):
            _until_settled(client, denied)
        with pytest.raises(DeviceTransient, match="cable"):
            AdbTarget("phone", "0123456789", client=client).run(["true"])
        with pytest.raises(DeviceTransient, match="127.0.0.1:1"):
            AdbTarget("phone", "127.0.0.1:1", client=client).run(["true"])
    finally:
        denied.stop()


def _until_settled(client: AdbClient, phone: Phone) -> None:
    """Tries until the client has left its passing states."""
    for _ in range(50):
        try:
            AdbTarget("phone", phone.serial, client=client).run(["true"])
        except DeviceTransient:
            time.sleep(0.2)


def test_keys_are_accepted_once_and_known_afterwards(client: AdbClient, tmp_path: Path) -> None:
    phone = Phone(tmp_path, auth="accept")
    try:
        target = AdbTarget("phone", phone.serial, client=client)
        _patiently(lambda: target.run(["true"]))
        assert len(phone.known_keys) == 1
        phone.drop()
        phones.until_listed(client, phone.serial)
        assert target.run(["true"]).status == 0
        assert len(phone.known_keys) == 1
    finally:
        phone.stop()


def test_several_phones_at_once_do_not_mix(client: AdbClient, tmp_path: Path) -> None:
    both = [Phone(tmp_path / "one"), Phone(tmp_path / "two", features=V2)]
    try:
        targets = [AdbTarget(f"p{n}", p.serial, client=client) for n, p in enumerate(both)]
        for n, target in enumerate(targets):
            target.push(b"same name", "a" * 64)
            target.install(f"echo {n}".encode(), "tool")
        for n, target in enumerate(targets):
            assert target.run([f"{target.workdir}/bin/tool"]).stdout == f"{n}\n".encode()
        with pytest.raises(DeviceUnknown, match=both[0].serial):
            AdbTarget("any", client=client).run(["true"])
        targets[0].clean()
        assert not (tmp_path / "one/data/local/tmp/lwprof").exists()
        assert (tmp_path / "two/data/local/tmp/lwprof").exists()
    finally:
        for phone in both:
            phone.stop()


def test_a_folder_that_cannot_be_made_is_the_devices_lasting_fault(
    client: AdbClient, phone: Phone
) -> None:
    (phone.root / "data/local/tmp/lwprof").write_text("in the way")
    with phones.target(client, phone) as target, pytest.raises(DeviceError) as caught:
        target.push(b"x", "b" * 64)
    assert not caught.value.transient


def test_a_half_pushed_file_never_gets_its_name(
    client: AdbClient, phone: Phone, tmp_path: Path
) -> None:
    big = tmp_path / "big"
    big.write_bytes(bytes(64 << 20))
    with phones.target(client, phone) as target:
        target.run(["true"])
        threading.Timer(0.05, phone.drop).start()
        try:
            target.push(big, "c" * 64)
        except DeviceTransient:
            there = phone.root / "data/local/tmp/lwprof/blobs" / ("c" * 64)
            assert not there.exists()
        phones.until_listed(client, phone.serial)
        _patiently(lambda: target.push(big, "c" * 64))
        assert len(target.pull("c" * 64, 64 << 20)) == 64 << 20


def test_lists_of_devices_are_read() -> None:
    text = """* daemon not running; starting now at tcp:5037
List of devices attached
0A041FDD40 device usb:1-2 product:oriole model:Pixel_6 device:oriole transport_id:1
8A2Y0 no permissions (user in plugdev group; are your udev rules wrong?); see [http://x]
192.168.1.5:5555 offline transport_id:3
emulator-5554 unauthorized transport_id:4

"""
    found = parse_devices(text)
    assert [(e.serial, e.state) for e in found] == [
        ("0A041FDD40", "device"), ("8A2Y0", "no permissions"),
        ("192.168.1.5:5555", "offline"), ("emulator-5554", "unauthorized"),
    ]  # fmt: skip
    assert found[0].details["model"] == "Pixel_6"


def test_a_missing_client_is_this_machines_fault() -> None:
    with pytest.raises(HostError, match="platform-tools"):
        AdbTarget("phone", "1", client=AdbClient("/no/such/adb")).run(["true"])


def _patiently(call: Callable[[], object]) -> None:
    for _ in range(50):
        try:
            call()
            return
        except DeviceTransient:
            time.sleep(0.2)
    call()
