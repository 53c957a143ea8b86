"""How alembic reaches the tasks' database: through the connection and transaction that `memory.migrate` gives it."""

from alembic import context

context.configure(connection=context.config.attributes["connection"])
context.run_migrations()
