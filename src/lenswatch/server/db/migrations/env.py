"""Run by Alembic, on the connection that `lenswatch.server.db.database` hands it."""

from alembic import context

from lenswatch.server.db.models import metadata

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=metadata, render_as_batch=True)
# The caller began the transaction and commits it.
context.run_migrations()
