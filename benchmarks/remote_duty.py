"""The share of a session's wall time in which the board measures, over a slow link. Bar ≥ 60 %.

A relay holds every byte back for ``--delay`` seconds each way between the host and a private
sshd. Only warm-up and timed iterations count as measuring; the shares of starting processes,
loading models and waiting are printed beside it. Needs root and openssh-server.
"""

from __future__ import annotations

import os
import socket
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from queue import SimpleQueue

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "agents"))

from figures import arguments, save


class Relay:
    """Carries bytes to a port and back, each held back for ``delay_s``."""

    def __init__(self, port: int, delay_s: float) -> None:
        self._port, self._delay_s = port, delay_s
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            near, _ = self._listener.accept()
            far = socket.create_connection(("127.0.0.1", self._port))
            for source, sink in ((near, far), (far, near)):
                source.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                queue: SimpleQueue[tuple[float, bytes]] = SimpleQueue()
                threading.Thread(target=self._read, args=(source, queue), daemon=True).start()
                threading.Thread(target=self._write, args=(sink, queue), daemon=True).start()

    def _read(self, source: socket.socket, queue: SimpleQueue[tuple[float, bytes]]) -> None:
        data = b"-"
        while data:
            try:
                data = source.recv(1 << 16)
            except OSError:
                data = b""
            queue.put((time.monotonic() + self._delay_s, data))

    @staticmethod
    def _write(sink: socket.socket, queue: SimpleQueue[tuple[float, bytes]]) -> None:
        while True:
            due, data = queue.get()
            time.sleep(max(0.0, due - time.monotonic()))
            try:
                if not data:
                    sink.shutdown(socket.SHUT_WR)
                    return
                sink.sendall(data)
            except OSError:
                return


def main() -> None:
    """Measures one network through the relay and adds up what its blocks did."""
    chosen = arguments(__doc__ or "", delay=0.025, model="squeezenet1_1", budget=120.0)
    from private_sshd import running_sshd

    with running_sshd() as server, tempfile.TemporaryDirectory() as folder:
        relay = Relay(server.port, chosen.delay)
        config = Path(folder) / "config"
        config.mkdir()
        key = (server.folder / "host_ed25519.pub").read_text().split()
        (config / "known_hosts").write_text(f"[127.0.0.1]:{relay.port} {key[0]} {key[1]}\n")
        (config / "devices.toml").write_text(
            f'[devices.far]\nboard = "generic_linux"\nssh = "{server.user}@127.0.0.1:{relay.port}"'
            f'\nidentity = "{server.identity}"\npython = "{sys.executable}"\n'
            f'workdir = "{server.home}/duty"\n'
        )
        os.environ["LWPROF_CONFIG"] = str(config)
        import lwprof
        from lwprof.profiler.store import open_store

        store = str(Path(folder) / "store.db")
        budget = 20.0 if chosen.quick else chosen.budget
        start = time.monotonic()
        lwprof.measure([chosen.model], device="far", store=store, budget_s=budget)
        wall = time.monotonic() - start
        spent: Counter[str] = Counter()
        with open_store(store) as database:
            blocks = list(database.blocks())
            for block in blocks:
                record = block.payload["record"]
                spent["blocks"] += record["duration_s"]
                for step, result in zip(block.payload["script"]["steps"], record["steps"],
                                        strict=True):  # fmt: skip
                    if step["do"] in ("warm", "time"):
                        spent["measuring"] += result["duration_s"]
                    elif step["do"] == "load":
                        spent["loading"] += result["load_s"] + result["first_inference_s"]
    figures = {
        "delay_s": chosen.delay, "blocks": len(blocks), "wall_s": wall,
        "measuring": spent["measuring"] / wall,
        "loading models": spent["loading"] / wall,
        "rest of the blocks (processes, imports)":
            (spent["blocks"] - spent["measuring"] - spent["loading"]) / wall,
        "between the blocks (link, host)": 1 - spent["blocks"] / wall,
    }  # fmt: skip
    for name, value in figures.items():
        print(f"{name:45} {value:.3f}")
    print("bar: measuring >= 0.6")
    save(chosen.json, figures)


if __name__ == "__main__":
    main()
