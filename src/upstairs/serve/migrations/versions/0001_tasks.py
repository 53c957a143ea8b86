"""Tasks and their appended rows; what each column is for, `upstairs.serve.memory` says."""

import sqlalchemy as sa
from alembic import op

ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")
revision, down_revision = "0001", None


def upgrade() -> None:
    op.create_table(
        "tasks",
        sa.Column("id", ID, primary_key=True),
        sa.Column("model", sa.String(100), nullable=False),
        sa.Column("task", sa.String(200), nullable=False),
        sa.Column("n_appends", sa.Integer, nullable=False, server_default="0"),
        sa.Column("n_rows", sa.Integer, nullable=False, server_default="0"),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.Column("changed", sa.DateTime(timezone=True), nullable=False),
        sa.UniqueConstraint("model", "task", name="one_task_of_a_name"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "appends",
        sa.Column("task_id", ID, sa.ForeignKey("tasks.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("position", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("key", sa.String(200)),
        sa.Column("digest", sa.LargeBinary(32), nullable=False),
        sa.Column("n_rows", sa.Integer, nullable=False),
        sa.Column("content", sa.LargeBinary, nullable=False),
        sa.UniqueConstraint("task_id", "key", name="one_append_of_a_key"),
    )


def downgrade() -> None:
    op.drop_table("appends")
    op.drop_table("tasks")
