"""What ssh's configuration says of a device is followed, with the client and without it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from lwprof.agents.targets import ssh_settings
from lwprof.agents.targets.ssh_settings import SshSettings, hops
from lwprof.errors import UsageError


@pytest.fixture(params=["with the client", "without it"])
def client(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "with the client":
        if shutil.which("ssh") is None:
            pytest.skip("no ssh client here: install openssh-client")
    else:
        monkeypatch.setattr(ssh_settings.shutil, "which", lambda name: None)
    return str(request.param)


def config(folder: Path, text: str, **others: str) -> Path:
    for name, content in others.items():
        (folder / name).write_text(content)
    path = folder / "config"
    path.write_text(text.replace("HERE", str(folder)))
    return path


def test_aliases_ports_users_keys_and_includes_are_read(client: str, tmp_path: Path) -> None:
    path = config(
        tmp_path,
        "Include HERE/boards\nHost *\n  User fallback\n",
        boards="Host shelf\n  HostName 192.0.2.7\n  Port 2200\n  User pi\n"
        f"  IdentityFile {tmp_path}/%h_key\n  IdentitiesOnly yes\n",
    )
    (hop,) = hops(SshSettings("shelf", config=path))
    assert (hop.host, hop.port, hop.user) == ("192.0.2.7", 2200, "pi")
    assert hop.key_name == "[192.0.2.7]:2200"
    assert hop.identities[0] == tmp_path / "192.0.2.7_key" and hop.only_identities
    (other,) = hops(SshSettings("192.0.2.9", config=path))
    assert (other.user, other.port, other.key_name) == ("fallback", 22, "192.0.2.9")


def test_what_the_user_says_wins(client: str, tmp_path: Path) -> None:
    path = config(tmp_path, "Host shelf\n  HostName 192.0.2.7\n  Port 2200\n  User pi\n")
    key = tmp_path / "mine"
    (hop,) = hops(SshSettings("shelf", "root", 22022, config=path, identity=key))
    assert (hop.user, hop.port, hop.identities[0]) == ("root", 22022, key)


def test_jump_hosts_are_gone_through_in_order(client: str, tmp_path: Path) -> None:
    path = config(
        tmp_path,
        "Host inner\n  ProxyJump middle\n"
        "Host middle\n  HostName 192.0.2.2\n  ProxyJump me@outer:2222\n",
    )
    assert [(hop.host, hop.port) for hop in hops(SshSettings("inner", config=path))] == [
        ("outer", 2222), ("192.0.2.2", 22), ("inner", 22),
    ]  # fmt: skip
    given = SshSettings("board", jump="a@one:1001,b@[2001:db8::2]:1002", config=path)
    assert [(hop.user, hop.host, hop.port) for hop in hops(given)][:2] == [
        ("a", "one", 1001), ("b", "2001:db8::2", 1002),
    ]  # fmt: skip


def test_jump_hosts_in_a_circle_are_refused(client: str, tmp_path: Path) -> None:
    path = config(tmp_path, "Host a\n  ProxyJump b\nHost b\n  ProxyJump a\n")
    with pytest.raises(UsageError, match="circle"):
        hops(SshSettings("a", config=path))


def test_a_host_that_looks_like_an_option_is_refused(client: str) -> None:
    with pytest.raises(UsageError, match="no host name"):
        hops(SshSettings("-oProxyCommand=reboot"))


def test_a_wrong_configuration_is_one_clear_error(tmp_path: Path) -> None:
    if shutil.which("ssh") is None:
        pytest.skip("no ssh client here: install openssh-client")
    path = config(tmp_path, "Nonsense yes\n")
    with pytest.raises(UsageError, match="configuration"):
        hops(SshSettings("a", config=path))
