"""Alembic's entry: migrate on the connection that `bnexp.db.connection` hands over, inside its transaction."""

from alembic import context

from bnexp.db.tables import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    render_as_batch=True,
    transactional_ddl=False,  # the transaction is the caller's, lock included
)
context.run_migrations()
