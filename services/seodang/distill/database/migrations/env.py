"""Runs the migrations through the connection that ``seodang.distill.database.migrate`` opened."""

from alembic import context

from seodang.distill.database.tables import Base

context.configure(
    connection=context.config.attributes["connection"], target_metadata=Base.metadata, render_as_batch=True
)
context.run_migrations()
