"""Blocks with their raw samples."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import func, select

from lwprof.profiler.store import rows, schema
from lwprof.profiler.store.database import PAGE, Database, add
from lwprof.profiler.store.records import Block


class Samples(Database):
    """The part of a store that knows blocks."""

    def put_block(self, block: Block) -> bool:
        """Stores a finished block; when this returns, the block survives a crash.

        Returns:
            True when it was stored, False when a block of this id was there already, which
            is left as it is.

        Raises:
            StoreError: its run, context or subject is unknown, its payload is no JSON or
                holds NaN, or the database refuses.
        """
        row = rows.block_row(block)
        with self.writing() as connection:
            return add(connection, schema.blocks, row)

    def blocks(
        self,
        *,
        run: str | None = None,
        subject: str | None = None,
        context: str | None = None,
        arm: str | None = None,
        payload: bool = True,
    ) -> Iterator[Block]:
        """Blocks that match every given key, oldest first.

        Args:
            run: id of the run.
            subject: key of the subject.
            context: key of the context.
            arm: the arm's name.
            payload: False leaves the payloads empty, which is much quicker.
        """
        table = schema.blocks
        given = {"run_id": run, "subject": subject, "context": context, "arm": arm}
        wanted = [table.c[name] == value for name, value in given.items() if value is not None]
        order = (table.c.started_utc, table.c.run_id, table.c.sequence, table.c.block_id)
        with self.reading() as connection:
            ids = list(
                connection.execute(select(table.c.block_id).where(*wanted).order_by(*order))
                .scalars()
            )  # fmt: skip
        columns = [column for column in table.columns if payload or column.name != "payload"]
        # Page by page, so that a slow reader neither holds all payloads nor a transaction.
        for start in range(0, len(ids), PAGE):
            page = ids[start : start + PAGE]
            query = select(*columns).where(table.c.block_id.in_(page))
            found = {row["block_id"]: row for row in self.all(query)}
            for block_id in page:
                if block_id in found:
                    yield rows.to_block(found[block_id], payload=payload)

    def count_blocks(self, *, run: str | None = None) -> int:
        """Number of blocks, of a run or of all."""
        query = select(func.count()).select_from(schema.blocks)
        if run is not None:
            query = query.where(schema.blocks.c.run_id == run)
        with self.reading() as connection:
            return int(connection.execute(query).scalar_one())
