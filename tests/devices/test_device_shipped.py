"""Every shipped board loads, says where its figures come from, and fits what devices are."""

from __future__ import annotations

from pathlib import Path

import pytest

from lwprof.device_profiles import boards, identify, load_profile
from lwprof.device_profiles.boards import parse_profile
from lwprof.errors import UsageError

WANTED = {
    "pi3bplus", "pi4", "pi5", "pizero2w", "jetson_nano", "tx2", "xavier_nx", "agx_xavier",
    "orin_nano", "orin_nx", "agx_orin", "pixel6", "pixel8", "android", "generic_linux", "host",
    "coral", "stm32f411", "stm32f746", "stm32h743",
}  # fmt: skip
ASKED = {"android", "generic_linux", "host"}


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LWPROF_CONFIG", str(tmp_path))
    return tmp_path


def test_all_promised_boards_are_there() -> None:
    assert set(boards()) >= WANTED


@pytest.mark.parametrize("name", sorted(WANTED))
def test_a_board_is_whole(name: str) -> None:
    profile = load_profile(name)
    if name in ASKED:
        return
    assert profile.sources and profile.clusters
    assert all(cluster.core and cluster.max_freq_hz for cluster in profile.clusters)
    assert profile.memory_bytes or profile.memory
    for cluster in profile.clusters:
        assert len(set(cluster.cpus)) == len(cluster.cpus)


def test_peaks_follow_from_cores_and_clocks() -> None:
    for name in ("pi5", "orin_nano", "orin_nx", "agx_orin"):
        profile = load_profile(name)
        peak = next(p for p in profile.peaks if p.unit_of == "cpu")
        [cluster] = profile.clusters
        assert cluster.max_freq_hz is not None
        assert peak.value == pytest.approx(8 * cluster.count * cluster.max_freq_hz)


def test_only_modules_with_a_rail_for_all_have_a_total() -> None:
    totals = {name: load_profile(name).total_rail for name in boards()}
    assert {name for name, rail in totals.items() if rail} == {
        "jetson_nano", "xavier_nx", "orin_nano", "orin_nx"
    }  # fmt: skip
    assert "refused" in (load_profile("agx_orin").energy or "")
    assert "no power sensor" in (load_profile("pi4").energy or "")


def test_microcontrollers_only_say_what_must_fit() -> None:
    for name in ("stm32f411", "stm32f746", "stm32h743"):
        profile = load_profile(name)
        assert profile.memory_only and profile.memory
        assert (profile.memory.largest_bytes or 0) <= profile.memory.sram_bytes
    assert load_profile("stm32f746").memory.sram_bytes == 320 * 1024  # type: ignore[union-attr]
    assert not load_profile("pi4").memory_only


def test_a_board_is_known_by_what_it_calls_itself() -> None:
    own = ["nvidia,p3768-0000+p3767-0005", "nvidia,p3767-0005", "nvidia,tegra234"]
    assert identify(own) == "orin_nano"
    assert identify(["raspberrypi,4-model-b", "brcm,bcm2711"]) == "pi4"
    assert identify(codename="oriole") == "pixel6"
    assert identify(["acme,board"], codename="nobody") is None


def test_no_two_boards_claim_one_name() -> None:
    seen: dict[str, str] = {}
    for name in boards():
        profile = load_profile(name)
        for text in (*profile.compatible, *profile.codenames):
            assert seen.setdefault(text, name) == name


def test_a_users_file_wins_field_by_field(own_folder: Path) -> None:
    folder = own_folder / "boards"
    folder.mkdir()
    (folder / "pi4.toml").write_text("memory_bytes = 8589934592\n[limits]\ntemp_c = 75.0\n")
    profile = load_profile("pi4")
    assert profile.memory_bytes == 8 * 2**30
    assert profile.limits.temp_c == 75.0 and profile.limits.input_voltage_v == 4.63
    assert profile.clusters[0].core == "Cortex-A72"


@pytest.mark.parametrize(
    "change, message",
    [
        ({"rails": [{"sensor": "s", "label": "A", "includes": ["cpu"], "role": "total"},
                    {"sensor": "s", "label": "B", "includes": ["gpu"], "role": "total"}]},
         "only one can be the total"),
        ({"rails": [{"sensor": "s", "label": "A", "includes": ["cpu"]}] * 2}, "twice"),
        ({"rails": [{"sensor": "s", "label": "A", "includes": ["cpu"], "role": "total"},
                    {"sensor": "s", "label": "B", "includes": ["gpu"], "role": "separate"}]},
         "parts, not separate"),
        ({"rails": [{"sensor": "s", "label": "A", "includes": []}]}, "what it includes"),
        ({"memory": {"sram_bytes": 10, "flash_bytes": 10, "largest_bytes": 11}}, "a part of"),
        ({"clusters": [{"name": "a", "count": 1, "max_freq_hz": 1e9, "min_freq_hz": 2e9}]},
         "min_freq_hz"),
    ],
)  # fmt: skip
def test_wrong_rails_and_memory_are_named(change: dict[str, object], message: str) -> None:
    data = {"name": "b", "title": "B", "environment": "hardware", "reach": {"how": ["ssh"]}}
    with pytest.raises(UsageError, match=message):
        parse_profile({**data, **change}, Path("b.toml"), "b")
