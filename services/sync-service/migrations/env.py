"""Alembic's entry point. The connection is given by `service_kit.mysql.migrate`, which holds the lock."""

from alembic import context

context.configure(connection=context.config.attributes["connection"], transactional_ddl=False)
with context.begin_transaction():
    context.run_migrations()
