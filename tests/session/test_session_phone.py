"""From the command line to a phone's numbers, through a real adb client."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import onnx
import pytest

pytest.importorskip("tvm", reason="TVM is not installed: pip install 'lwprof[tvm]'")

for room in ("agents", "tvm"):
    sys.path.insert(0, str(Path(__file__).parents[1] / room))
import phones
from adbd_double import Phone
from tvm_models import Model

from lwprof.cli.main import main
from lwprof.device_profiles import adb_device, add_device

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")


@pytest.fixture
def device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    client = next((name for name, path in phones.CLIENTS.items() if path), None)
    if client is None:
        pytest.skip("no adb client: apt-get install adb, or pip install adbutils")
    (tmp_path / "home").mkdir()
    with phones.server(client, tmp_path / "home") as adb:
        for key in ("ANDROID_ADB_SERVER_PORT", "HOME", "ADB_MDNS", "XDG_CACHE_HOME"):
            monkeypatch.setenv(key, adb.environment.get(key, str(tmp_path / "cache")))
        monkeypatch.setenv("PATH", f"{Path(adb.path).parent}:/usr/bin:/bin")
        monkeypatch.setenv("LWPROF_CONFIG", str(tmp_path / "config"))
        phone = Phone(tmp_path / "phone")
        workdir = f"{phone.root}/data/local/tmp/lwprof"
        add_device(adb_device("phone", "android", phone.serial, workdir=workdir))
        yield "phone"
        phone.stop()


def saved(folder: Path, name: str, channels: int) -> str:
    m = Model(x=(1, 8, 16, 16))
    x = m.add("Conv", "x", m.weight(channels, 8, 3, 3), m.weight(channels), pads=[1] * 4)
    x = m.add("Relu", x)
    x = m.add("Conv", x, m.weight(4, channels, 1, 1), m.weight(4))
    onnx.save(m.proto(x), folder / name)
    return str(folder / name)


def run(*arguments: str) -> None:
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    assert ended.value.code in (0, 4), arguments


def test_a_phone_is_measured_kernel_by_kernel_and_cleaned(device: str, tmp_path: Path) -> None:
    model, out = saved(tmp_path, "a.onnx", 16), tmp_path / "out.json"
    store = f"sqlite:///{tmp_path}/store.db"
    run("measure", model, "--device", device, "--runtime", "tvm", "--budget", "2s",
        "--store", store, "--json", str(out))  # fmt: skip
    result = json.loads(out.read_text())
    assert result["context"]["options"]["agent"] == "native"
    (measured,) = result["models"]
    assert 0 < measured["latency_s"]["value"] < 1
    assert measured["energy_j"] is None
    kernels = [k for k in measured["kernels"] if "Conv" in str(k["operators"])]
    assert len(kernels) == 2
    run("compare", model, saved(tmp_path, "b.onnx", 64), "--device", device, "--runtime", "tvm",
        "--budget", "3s", "--store", store, "--json", str(out))  # fmt: skip
    assert json.loads(out.read_text())["schema"] == "lwprof.comparison/1"
    folder = tmp_path / "phone/data/local/tmp/lwprof"
    assert folder.exists()
    run("devices", "clean", device)
    assert not folder.exists()
