"""What a device may say, and the checks that it is said properly.

A device's output is untrusted: numbers must be finite and not negative, texts are
freed of control characters and cut, lists are bounded, unknown fields are dropped.
"""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta, field

from lwprof.agents import message_kinds
from lwprof.agents.message_kinds import (
    Count,
    Fraction,
    Nanoseconds,
    Seconds,
    Sha256,
    Text,
)
from lwprof.agents.power_messages import EnergyResult

Message = message_kinds.Message


class Hello(Message, frozen=True):
    """The agent's first frame."""

    protocol: Count
    pid: Annotated[int, Meta(ge=1, le=2**31)]
    python: Text = ""
    agent_sha256: Text = ""


class Pong(Message, frozen=True):
    """The answer to a ping: the device's monotonic clock."""

    monotonic_ns: Nanoseconds


class Cluster(Message, frozen=True):
    """Processors of one kind.

    Attributes:
        cpus: hardware threads.
        cores: physical cores.
        first_of_core: the first hardware thread of each of these cores.
    """

    cpus: list[Count]
    cores: Count
    first_of_core: list[Count] = field(default_factory=list)
    max_freq_hz: Count | None = None
    capacity: Count | None = None


class Runtime(Message, frozen=True):
    """An installed runtime; ``error`` says why it cannot be used."""

    version: Text = ""
    providers: list[Text] = field(default_factory=list)
    error: Text | None = None


class Facts(Message, frozen=True):
    """What a device is. None: the device does not tell.

    Attributes:
        cores: processors online (hardware threads); ``physical_cores`` without those of
            one core counted twice; ``allowed_cpus``: what the agent may use.
        runtimes: what is installed, by name.
        cpu_quota: processors that a control group allows.
        clusters: fastest first.
        hardware_id: a digest that stays the same for this unit; ``hardware_id_source``.
        environment: "hardware", "virtual", "emulated" or "synthetic".
    """

    cores: Annotated[int, Meta(ge=1, le=65536)]
    environment: Annotated[str, Meta(pattern="^(hardware|virtual|emulated|synthetic)$")]
    machine: Text
    kernel: Text
    os: Text
    python: Text
    clusters: list[Cluster]
    allowed_cpus: list[Count]
    runtimes: dict[Text, Runtime]
    hardware_id: Text
    hardware_id_source: Text = ""
    model: Text | None = None
    cpu: Text | None = None
    cpu_features: list[Text] = field(default_factory=list)
    physical_cores: Count | None = None
    cpu_quota: Annotated[float, Meta(gt=0, le=65536)] | None = None
    memory_bytes: Count | None = None
    page_bytes: Count | None = None
    boot_id: Text | None = None
    hypervisor: Text | None = None
    container: Text | None = None
    governors: list[Text] = field(default_factory=list)
    power_mode: Text | None = None
    sysroot: Text | None = None
    hostname: Text | None = None

    @property
    def fastest_cpus(self) -> list[int]:
        """One processor of each core of the fastest cluster that the agent may use."""
        allowed = set(self.allowed_cpus)
        for cluster in self.clusters:
            usable = [cpu for cpu in cluster.first_of_core if cpu in allowed]
            usable = usable or [cpu for cpu in cluster.cpus if cpu in allowed]
            if usable:
                return usable
        return sorted(allowed)


class Output(Message, frozen=True):
    """One output of a model; ``shape`` is None for what is no tensor."""

    name: Text
    dtype: Text
    shape: list[Count] | None


class Blob(Message, frozen=True):
    """A file that the device holds."""

    sha256: Sha256
    size_bytes: Annotated[int, Meta(ge=0, le=2**40)]


class PreparedReply(Message, frozen=True):
    """The answer to ``prepare``; ``optimised`` is still on the device."""

    providers: list[Text]
    outputs: list[Output]
    node_providers: dict[Text, Count] = field(default_factory=dict)
    optimised: Blob | None = None


class PreparedItem(Message, frozen=True):
    """One model of ``prepare_all``: its result or why there is none."""

    ok: PreparedReply | None = None
    error: ErrorReply | None = None


class PreparedAll(Message, frozen=True):
    """The answer to ``prepare_all``; ``pack`` holds all optimised graphs in order."""

    items: list[PreparedItem]
    pack: Blob


class LoadResult(Message, frozen=True):
    """A session was created and ran once."""

    load_s: Seconds
    first_inference_s: Seconds
    providers: list[Text]
    outputs: list[Output]
    node_providers: dict[Text, Count] = field(default_factory=dict)
    output_sha256: Sha256 | None = None


class WarmResult(Message, frozen=True):
    """Untimed runs of each session."""

    runs: dict[Text, Count]
    duration_s: Seconds


class TimeResult(Message, frozen=True):
    """Raw times of each session, slice by slice, and the order of the slices."""

    times_ns: dict[Text, list[list[Nanoseconds]]]
    order: list[Text]
    duration_s: Seconds


class Node(Message, frozen=True):
    """One node of the graph that the runtime executed."""

    name: Text
    op: Text = ""
    provider: Text = ""
    index: int | None = None
    inputs: Count | None = None
    shape: list[int] | None = None


class InnerNodes(Message, frozen=True):
    """Nodes inside control-flow bodies; their time is part of an outer node's."""

    nodes: list[Node]
    durations_ns: list[list[Nanoseconds]]
    calls: list[list[Count]]


class ProfileResult(Message, frozen=True):
    """The profile of the runs that ``time`` steps made, one row per run.

    Attributes:
        bias_ns: TVM: for each run, what one reading of the clock adds to a node.
        gap_ns: TVM: durations of runs without the kernels.
    """

    nodes: list[Node]
    durations_ns: list[list[Nanoseconds]]
    run_ns: list[Nanoseconds]
    inner: InnerNodes | None = None
    bias_ns: list[Nanoseconds] = field(default_factory=list)
    gap_ns: list[Nanoseconds] = field(default_factory=list)
    memory: dict[Text, Count] = field(default_factory=dict)


class UnloadResult(Message, frozen=True):
    """A session is gone."""


class Zone(Message, frozen=True):
    """A thermal zone."""

    type: Text
    temp_c: Annotated[float, Meta(ge=-100, le=250)]


class Snapshot(Message, frozen=True):
    """The state of the device at one moment; what it does not tell is None."""

    monotonic_ns: Nanoseconds
    sysroot: Text | None = None
    load_average: list[Seconds] | None = None
    frequencies_hz: dict[Text, Count] | None = None
    governors: dict[Text, Text] | None = None
    thermal: list[Zone] | None = None
    throttle_counts: dict[Text, Count] | None = None
    throttled_bits: Count | None = None
    frequency_transitions: dict[Text, Count] | None = None
    cooling: dict[Text, Count] | None = None
    frequency_limits_hz: dict[Text, Count] | None = None
    fans_rpm: dict[Text, Count] | None = None
    battery: dict[Text, Any] | None = None
    swap_in_pages: Count | None = None
    swap_out_pages: Count | None = None
    oom_kills: Count | None = None
    major_faults: Count | None = None


class Seen(Message, frozen=True):
    """What was seen in the timed windows, by looking some times a second.

    Attributes:
        low_freq_hz, high_freq_hz: of the processor whose clock varied most;
            ``low_limit_hz``, ``high_limit_hz``: of the highest clock that was allowed.
        max_cooling: highest state of what cools by slowing down.
        throttled_bits: a Raspberry Pi's present bits, joined.
    """

    looks: Count = 0
    low_freq_hz: Count | None = None
    high_freq_hz: Count | None = None
    low_limit_hz: Count | None = None
    high_limit_hz: Count | None = None
    max_cooling: Count | None = None
    max_temp_c: Annotated[float, Meta(ge=-100, le=250)] | None = None
    under_voltage: bool | None = None
    throttled_bits: Count | None = None


class Changes(Message, frozen=True):
    """What happened during a block; fractions refer to its timed windows.

    Attributes:
        competing_cpu_fraction: processor time of others, of all the machine's.
        steal_fraction: time that a hypervisor took, of the time that work wanted.
        run_delay_fraction: time our workers waited for a processor, of that they wanted.
    """

    windows: Count | None = None
    window_s: Seconds | None = None
    capacity_s: Seconds | None = None
    busy_s: Seconds | None = None
    own_s: Seconds | None = None
    steal_s: Seconds | None = None
    run_delay_s: Seconds | None = None
    pressure_s: Seconds | None = None
    competing_cpu_fraction: Fraction | None = None
    steal_fraction: Fraction | None = None
    run_delay_fraction: Fraction | None = None
    swap_in_pages: Count | None = None
    swap_out_pages: Count | None = None
    oom_kills: Count | None = None
    major_faults: Count | None = None
    throttle_counts: Count | None = None
    frequency_transitions: Count | None = None
    throttled_bits: Count | None = None
    throttled_bits_new: Count | None = None
    max_temp_c: Annotated[float, Meta(ge=-100, le=250)] | None = None
    seen: Seen | None = None


class Environment(Message, frozen=True):
    """Before, after, and what changed."""

    before: Snapshot
    after: Snapshot
    delta: Changes


class WorkerRecord(Message, frozen=True):
    """What one worker was and used. Its peak of memory leaves reading profiles out."""

    pid: Count
    affinity: list[Count]
    nice: Annotated[int, Meta(ge=-20, le=19)]
    wall_s: Seconds
    cpu_s: Seconds | None = None
    rss_start_bytes: Count | None = None
    rss_peak_bytes: Count | None = None
    rss_bytes: Count | None = None
    rss_anon_bytes: Count | None = None
    swap_bytes: Count | None = None
    voluntary_switches: Count | None = None
    nonvoluntary_switches: Count | None = None
    major_faults: Count | None = None


RESULTS: dict[str, type[Message]] = {
    "load": LoadResult,
    "warm": WarmResult,
    "time": TimeResult,
    "energy": EnergyResult,
    "profile": ProfileResult,
    "unload": UnloadResult,
}


class BlockReply(Message, frozen=True):
    """A block as it travels; its steps are checked against the script that asked for them."""

    id: Text
    steps: list[dict[str, Any]]
    environment: Environment
    workers: list[WorkerRecord]
    started_monotonic_ns: Nanoseconds
    duration_s: Seconds
    boot_id: Text | None = None


class BlockRecord(Message, frozen=True):
    """One finished block: results of its steps in order, and what happened meanwhile."""

    id: Text
    steps: list[Any]
    environment: Environment
    workers: list[WorkerRecord]
    started_monotonic_ns: Nanoseconds
    duration_s: Seconds
    boot_id: Text | None = None


class ErrorReply(Message, frozen=True):
    """A failure as it travels."""

    kind: Annotated[str, Meta(max_length=64)]
    message: Text
    transient: bool = False
    side: Annotated[str, Meta(pattern="^(device|host)$")] = "device"
