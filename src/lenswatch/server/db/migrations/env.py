"""Alembic's entry point, on the connection that `lenswatch.server.db.upgrade` passes."""

from alembic import context

from lenswatch.server.db.tables import metadata

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=metadata, render_as_batch=True)
# The caller begins and commits the transaction.
context.run_migrations()
