"""A block that a device finished while the host was being killed is taken over, once."""

from __future__ import annotations

import random
from typing import Any

from lwprof.profiler.session import scripts
from lwprof.profiler.session.link import open_device
from lwprof.profiler.session.options import Settings
from lwprof.profiler.session.prepare import prepare, read_model
from lwprof.profiler.session.runner import Runner, add_subjects
from lwprof.profiler.store import open_store

SETTINGS = Settings(threads=1)


class Waiting:
    """The agent of a device on which finished blocks wait."""

    def __init__(self, found: list[tuple[dict[str, Any], Any]]) -> None:
        self.found = found

    def leftovers(self) -> list[tuple[dict[str, Any], Any]]:
        return self.found


def test_finished_blocks_that_were_never_stored_are_taken_over(tmp_path) -> None:  # type: ignore[no-untyped-def]
    with open_device("host") as link, open_store(str(tmp_path / "m.db")) as store:
        prepared = prepare(link.agent, read_model("tiny_ops", SETTINGS), SETTINGS, 1)
        context, key = link.context(SETTINGS, 1), prepared.graph.sha256
        store.put_device(link.stored_device())
        run = link.begin(store, "measure", {"kind": "leftovers"}, context, fresh=True)
        add_subjects(store, {key: "tiny_ops"}, {})

        def runner(agent: Any) -> Runner:
            return Runner(agent, store, run, context, 1e9, random.Random(0))

        def finished(note: dict[str, Any] | None) -> tuple[dict[str, Any], Any]:
            script = scripts.end_to_end(prepared.runnable, 2e-4, link.affinity)
            if note is not None:
                script["note"] = note
            return script, link.agent.run_block(script)

        mine = {"run": run.run_id, "arm": "end_to_end", "subject": key}
        first, other = finished(mine), finished({**mine, "run": "another"})
        waiting = Waiting([first, other, finished(None), finished({**mine, "subject": "nobody"})])
        runner(waiting).recall()
        assert [b.block_id for b in store.blocks(run=run.run_id)] == [first[0]["id"]]
        again = runner(waiting)
        again.recall()
        assert [b.block_id for b in store.blocks(run=run.run_id)] == [first[0]["id"]]
        assert again.sequence == 1 and again.spent_s > 0
        stored = again.blocks("end_to_end", key)[0]
        assert stored.n and stored.log_median is not None
