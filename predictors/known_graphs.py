"""Graphs that were read before: what is known of them, and what a runtime made of them.

Reading and checking a graph takes several times as long as parsing its file, and asking the runtime
for its kernels a second; both depend on the file's content alone. What was found is kept in memory
and, beside the store, on disk: a file that did not change is recognised without being read, a copy
of it by its digest.
"""

from __future__ import annotations

import hashlib
import os
import platform
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lwprof.profiler.graph.model import Graph
    from lwprof.profiler.kernels.workload import Workload

SCHEMA = "lwprof.known_graph/1"
REMEMBERED = 1024
"""Graphs kept in memory, and ten times as many on disk."""
_SETTLED_NS = 2_000_000_000
"""A file that changed later than this before it was read may change again in the same tick."""
_PACKAGES = {"onnxruntime": "onnxruntime", "tvm": "apache-tvm"}

Identity = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class KernelName:
    """A kernel of a model before its cost is known.

    Attributes:
        description: its workload's; None where only the key was stored with the model.
    """

    key: str
    operators: tuple[str, ...]
    nodes: tuple[str, ...]
    description: Mapping[str, Any] | None = None

    @property
    def workload(self) -> Workload | None:
        """The workload, where its description is known."""
        if self.description is None:
            return None
        from lwprof.profiler.kernels.workload import Workload

        return Workload.from_description(self.description, self.key)


@dataclass(frozen=True, slots=True)
class GraphFacts:
    """What a prediction says of a model besides its costs.

    Attributes:
        sha256: digest of the model's bytes.
        peak_memory_bytes: the runtime's plan for the activations, where it is known, else
            their peak by liveness; None where a size is unknown.
    """

    name: str
    sha256: str
    macs: int | None
    params: int | None
    size_bytes: int
    peak_memory_bytes: int | None

    @classmethod
    def of(cls, graph: Graph) -> GraphFacts:
        """Those of a graph that was read."""
        return cls(graph.name, graph.sha256, graph.macs, graph.params, graph.size_bytes,
                   graph.peak_memory_bytes)  # fmt: skip


@dataclass(frozen=True, slots=True)
class KnownGraph:
    """A graph that was read before.

    Attributes:
        kernels: what the runtime on this host makes of it; None until it was asked.
    """

    facts: GraphFacts
    kernels: tuple[KernelName, ...] | None = None


class KnownGraphs:
    """Graphs by what names them.

    Args:
        batch: they are read with; None leaves them as they are.
        runtime: that is asked for their kernels.
        folder: where to keep them between processes; None keeps them in memory alone.
    """

    def __init__(self, batch: int | None, runtime: str, folder: Path | None = None) -> None:
        self._scope = (batch, runtime)
        self._folder = folder
        self._graphs: dict[str, KnownGraph] = {}
        self._digests: dict[Identity, str] = {}

    def find(self, model: Any) -> KnownGraph | None:
        """What is known of a model: a path, a zoo name, bytes; None where nothing is."""
        digest = self._digest(model)
        if digest is None:
            return None
        known = self._graphs.get(digest) or self._load(digest)
        if known is not None and isinstance(model, str | os.PathLike):
            name = Path(model).stem if _identity(model) else str(model)
            if name != known.facts.name:
                return KnownGraph(_renamed(known.facts, name), known.kernels)
        return known

    def read_as(self, sha256: str) -> KnownGraph | None:
        """What is known of a graph that had to be read again, by its digest."""
        return self._graphs.get(sha256) or self._load(sha256)

    def note(self, model: Any, known: KnownGraph) -> None:
        """Keeps what was found of a model.

        A file whose digest is not the graph's has weights in files of its own, of which its digest
        does not tell: it is read again each time.
        """
        digest = known.facts.sha256
        place = f"named {model}" if isinstance(model, str) and _identity(model) is None else digest
        for key in {digest, place}:
            while len(self._graphs) >= REMEMBERED:
                self._graphs.pop(next(iter(self._graphs)))
            self._graphs[key] = known
        self._save(digest, known)

    def _digest(self, model: Any) -> str | None:
        if isinstance(model, bytes):
            return hashlib.sha256(model).hexdigest()
        if not isinstance(model, str | os.PathLike) or os.fspath(model) == "-":
            return None
        identity = _identity(model)
        if identity is None:
            return f"named {model}"  # of the zoo, which is the same in all of a process
        if identity not in self._digests:
            try:
                digest = hashlib.sha256(Path(model).read_bytes()).hexdigest()
            except OSError:
                return None  # whoever reads it next says why
            if time.time_ns() - identity[3] < _SETTLED_NS:
                return digest
            while len(self._digests) >= REMEMBERED:
                self._digests.pop(next(iter(self._digests)))
            self._digests[identity] = digest
        return self._digests[identity]

    def _place(self, digest: str) -> Path | None:
        if self._folder is None or len(digest) != 64:
            return None
        scope = " ".join([digest, *map(str, self._scope), _version("lwprof"), platform.node(),
                          _version(_PACKAGES.get(self._scope[1], ""))])  # fmt: skip
        return self._folder / f"{hashlib.sha256(scope.encode()).hexdigest()}.json"

    def _load(self, digest: str) -> KnownGraph | None:
        import msgspec

        place = self._place(digest)
        if place is None:
            return None
        try:
            entry = msgspec.json.decode(place.read_bytes(), type=_Entry)
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
            return None
        if entry.schema != SCHEMA or entry.facts.sha256 != digest:
            return None
        known = KnownGraph(entry.facts, None if entry.kernels is None else tuple(entry.kernels))
        self._graphs[digest] = known
        return known

    def _save(self, digest: str, known: KnownGraph) -> None:
        import msgspec

        place = self._place(digest)
        if place is None or self._folder is None:
            return
        entry = _Entry(SCHEMA, known.facts, None if known.kernels is None else list(known.kernels))
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            part = place.with_suffix(f".{os.getpid()}.part")
            part.write_bytes(msgspec.json.encode(entry))
            part.replace(place)
            self._drop_oldest()
        except OSError:
            return  # a folder that cannot be written costs time, not answers

    def _drop_oldest(self) -> None:
        assert self._folder is not None
        kept = list(self._folder.glob("*.json"))
        if len(kept) > 10 * REMEMBERED:
            for path in sorted(kept, key=lambda p: p.stat().st_mtime)[: len(kept) // 5]:
                path.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class _Entry:
    """One file."""

    schema: str
    facts: GraphFacts
    kernels: list[KernelName] | None


def _renamed(facts: GraphFacts, name: str) -> GraphFacts:
    return GraphFacts(**{**asdict(facts), "name": name})


def _identity(model: str | os.PathLike[str]) -> Identity | None:
    """What changes when a file does; None where there is none of that name."""
    try:
        found = os.stat(model)
    except (OSError, ValueError):
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except (metadata.PackageNotFoundError, ValueError):
        return ""
