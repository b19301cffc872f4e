"""How a person had a film hung anew: of the film, each answer and each explanation. The gate of an answer."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_WAITING = "status IN ('queued', 'running')"


def upgrade() -> None:
    """Add `correction` to films, answers and explanations, `gate` to answers; to the unique keys too."""
    op.add_column("image", _column("correction", 32))
    _keyed("result", ("sha256", "model", "policy"), {"correction": 32, "gate": 100})
    # SQLite makes the table anew, and would lose what the index is limited to.
    op.drop_index("ix_explanation_waiting", "explanation")
    _keyed("explanation", ("sha256", "label", "method", "model"), {"correction": 32})
    op.create_index(
        "ix_explanation_waiting",
        "explanation",
        ["asked_utc"],
        unique=False,
        sqlite_where=sa.text(_WAITING),
        postgresql_where=sa.text(_WAITING),
    )


def _column(name: str, length: int) -> sa.Column[str]:
    return sa.Column(name, sa.String(length=length), nullable=False, server_default="")


def _keyed(table: str, key: tuple[str, ...], new: dict[str, int]) -> None:
    """Add columns, by name their length, and put them behind the others of the unique key."""
    whole = (*key, *new)
    with op.batch_alter_table(table) as batch:
        for name, length in new.items():
            batch.add_column(_column(name, length))
        batch.drop_constraint(op.f(f"uq_{table}_{'_'.join(key)}"), type_="unique")
        batch.create_unique_constraint(op.f(f"uq_{table}_{'_'.join(whole)}"), [*whole])
