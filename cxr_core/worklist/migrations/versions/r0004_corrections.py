"""How a person had a film hung anew: of the film, of each answer and of each explanation."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_WAITING = "status IN ('queued', 'running')"


def upgrade() -> None:
    """Add the column to films, answers and explanations; to the latter two's unique keys too."""
    op.add_column("image", _column())
    _keyed("result", "sha256", "model", "policy")
    # SQLite makes the table anew, and would lose what the index is limited to.
    op.drop_index("ix_explanation_waiting", "explanation")
    _keyed("explanation", "sha256", "label", "method", "model")
    op.create_index(
        "ix_explanation_waiting",
        "explanation",
        ["asked_utc"],
        unique=False,
        sqlite_where=sa.text(_WAITING),
        postgresql_where=sa.text(_WAITING),
    )


def _column() -> sa.Column[str]:
    return sa.Column("correction", sa.String(length=32), nullable=False, server_default="")


def _keyed(table: str, *key: str) -> None:
    """Add the column, and put it behind the others of the unique key."""
    name = f"uq_{table}_{'_'.join(key)}"
    with op.batch_alter_table(table) as batch:
        batch.add_column(_column())
        batch.drop_constraint(op.f(name), type_="unique")
        batch.create_unique_constraint(op.f(f"{name}_correction"), [*key, "correction"])
