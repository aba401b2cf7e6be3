"""What a board's TOML file may say. Closed: an unknown field is an error, never ignored."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

Environment = Literal["hardware", "virtual", "emulated", "synthetic"]
How = Literal["local", "ssh", "adb"]


class Cluster(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Cores of one kind.

    Attributes:
        name: e.g. ``big``.
        count: how many cores.
        max_freq_hz: highest clock, None where nobody tells.
        cpus: the kernel's numbers of the cores, empty where nobody tells.
        core: what the maker calls the core, e.g. ``Cortex-A72``.
        min_freq_hz: lowest clock, None where nobody tells.
    """

    name: str
    count: int
    max_freq_hz: float | None = None
    cpus: tuple[int, ...] = ()
    core: str | None = None
    min_freq_hz: float | None = None


class Rail(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One power rail that a sensor reads.

    Rails overlap: one that includes all is never added to the others.

    Attributes:
        sensor: family of the sensor, as in ``agents/program/instruments``, e.g. ``ina3221``.
        label: the sensor's own name of the rail.
        includes: what draws from it (``cpu``, ``gpu``, ``memory``, ``module``, ``board`` …).
        role: ``total`` for the one rail that stands for the device's energy, ``part`` for
            one inside it, ``separate`` where no rail covers the others.
    """

    sensor: str
    label: str
    includes: tuple[str, ...]
    role: Literal["total", "part", "separate"] = "part"


class Peak(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A figure the hardware cannot exceed, and who says so.

    Attributes:
        quantity: ``mac_per_s`` or ``bandwidth_bytes_per_s``.
        value: in that unit.
        source: a data sheet, a measurement, with its date.
        precision: element type that it holds for.
        unit_of: part of the board, e.g. ``cpu``, ``gpu``.
    """

    quantity: Literal["mac_per_s", "bandwidth_bytes_per_s"]
    value: float
    source: str
    precision: str | None = None
    unit_of: str = "cpu"


class Memory(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a microcontroller's program and activations must fit in, bytes.

    Attributes:
        sram_bytes: all RAM that the data sheet counts.
        flash_bytes: program memory.
        largest_bytes: the largest RAM without a hole, where the RAM is in several banks; one
            tensor arena cannot be larger.
    """

    sram_bytes: int
    flash_bytes: int
    largest_bytes: int | None = None


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where the board starts to protect itself; None where nobody tells."""

    temp_c: float | None = None
    power_w: float | None = None
    input_voltage_v: float | None = None


class Reach(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Ways to reach a device of the board, the preferred one first; none for memory only."""

    how: tuple[How, ...]


class Profile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A board: a type of machine.

    Attributes:
        name: the file's name without ``.toml``.
        title: for people.
        environment: what its numbers count as.
        reach: how a device of it is reached.
        clusters: its CPU cores; empty where they are found out on the device.
        memory_bytes: None where it is found out on the device.
        rails: power rails that can be read.
        peaks: what it cannot exceed.
        limits: where it protects itself.
        memory: of a microcontroller. Such a board runs none of our runtimes: it only says
            what a network must fit in.
        compatible: texts of the device tree's ``compatible`` that identify the board.
        codenames: Android's ``ro.product.device`` of the board.
        energy: what to know of its power sensor, or how to do without one.
        sources: where cores, clocks, memory and rails come from.
    """

    name: str
    title: str
    environment: Environment
    reach: Reach
    clusters: tuple[Cluster, ...] = ()
    memory_bytes: int | None = None
    rails: tuple[Rail, ...] = ()
    peaks: tuple[Peak, ...] = ()
    limits: Limits = Limits()
    memory: Memory | None = None
    compatible: tuple[str, ...] = ()
    codenames: tuple[str, ...] = ()
    energy: str | None = None
    sources: tuple[str, ...] = ()

    @property
    def memory_only(self) -> bool:
        """Whether the board is no device: it only says what a network must fit in."""
        return self.memory is not None and not self.reach.how

    @property
    def total_rail(self) -> Rail | None:
        """The rail that stands for the device's energy, None where there is none."""
        return next((rail for rail in self.rails if rail.role == "total"), None)

    @property
    def fastest_cluster(self) -> Cluster | None:
        """The cluster of the highest clock; of equal ones the larger, then the first."""
        if not self.clusters:
            return None
        return max(self.clusters, key=lambda cluster: (cluster.max_freq_hz or 0.0, cluster.count))

    def to_json(self) -> dict[str, Any]:
        """All fields as JSON."""
        found: dict[str, Any] = msgspec.to_builtins(self)
        return found
