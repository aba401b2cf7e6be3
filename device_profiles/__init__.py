"""Boards and devices: TOML profiles, their loader, and the registry of the user's devices.

Adding a board is adding one TOML file here (or in the user's ``boards`` folder).
"""

from __future__ import annotations

from lwprof.device_profiles.boards import boards, identify, load_profile
from lwprof.device_profiles.devices import (
    Device,
    adb_device,
    add_device,
    devices,
    find_device,
    host_device,
    known_hosts_path,
    registry_path,
    remove_device,
    ssh_device,
)
from lwprof.device_profiles.profile import Cluster, Limits, Memory, Peak, Profile, Rail, Reach

__all__ = [
    "Cluster", "Device", "Limits", "Memory", "Peak", "Profile", "Rail", "Reach",
    "adb_device", "add_device", "boards", "devices", "find_device", "host_device", "identify",
    "known_hosts_path", "load_profile", "registry_path", "remove_device", "ssh_device",
]  # fmt: skip
