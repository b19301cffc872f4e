"""What Alembic runs: always on the connection it is handed, never on an address of its own."""

from __future__ import annotations

from alembic import context

from cxr_core.worklist.schema import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
