-- Schemas, and a least-privilege account for each program. Run as root at every start, by `mysql-init` (accounts.sh) and by
-- the embedded stack. The passwords are substituted.

CREATE DATABASE IF NOT EXISTS auth CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_ai_ci;
CREATE DATABASE IF NOT EXISTS tweets CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_ai_ci;

-- auth-service owns the schema `auth` and migrates it.
CREATE USER IF NOT EXISTS 'auth_service'@'%' IDENTIFIED BY '${MYSQL_AUTH_PASSWORD}';
ALTER USER 'auth_service'@'%' IDENTIFIED BY '${MYSQL_AUTH_PASSWORD}';
GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER, DROP, INDEX, REFERENCES ON auth.* TO 'auth_service'@'%';

-- sync-service owns the copies in the schema `tweets`.
CREATE USER IF NOT EXISTS 'sync_service'@'%' IDENTIFIED BY '${MYSQL_SYNC_PASSWORD}';
ALTER USER 'sync_service'@'%' IDENTIFIED BY '${MYSQL_SYNC_PASSWORD}';
GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER, DROP, INDEX, REFERENCES, CREATE VIEW, SHOW VIEW ON tweets.*
    TO 'sync_service'@'%';
-- In `auth` it reads only the captured table, to compare the copy with it and to show authors in its views.
-- (MySQL grants a privilege on a missing table only together with CREATE, which is revoked at the end.)
GRANT SELECT, CREATE ON auth.users TO 'sync_service'@'%';
REVOKE CREATE ON auth.users FROM 'sync_service'@'%';
-- Sessions that keep changes out of the binary log, or log them in a way that Debezium can't read.
GRANT SELECT ON performance_schema.variables_by_thread TO 'sync_service'@'%';
-- Of statements only their kind and time: the samples beside them have values, such as hashes of passwords, and were readable
-- in earlier builds.
REVOKE IF EXISTS SELECT ON performance_schema.events_statements_summary_by_digest FROM 'sync_service'@'%';
GRANT SELECT (digest_text, last_seen) ON performance_schema.events_statements_summary_by_digest TO 'sync_service'@'%';

-- Debezium reads the binary log, which covers the whole server, and takes snapshots of the captured tables: those of
-- `table.include.list` in infra/connect/connectors. It may read no other table. A snapshot locks by RELOAD, which needs no
-- right on a table.
CREATE USER IF NOT EXISTS 'debezium'@'%' IDENTIFIED BY '${MYSQL_DEBEZIUM_PASSWORD}';
ALTER USER 'debezium'@'%' IDENTIFIED BY '${MYSQL_DEBEZIUM_PASSWORD}';
GRANT RELOAD, SHOW DATABASES, REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO 'debezium'@'%';
GRANT SELECT, CREATE ON auth.users TO 'debezium'@'%';
REVOKE CREATE ON auth.users FROM 'debezium'@'%';
-- Releases up to 0.1.0 let it read the whole schema, with the password hashes.
REVOKE IF EXISTS SELECT, LOCK TABLES ON auth.* FROM 'debezium'@'%';
-- The registrar looks for sessions whose updates Debezium leaves out (binlog_row_value_options).
GRANT SELECT ON performance_schema.variables_by_thread TO 'debezium'@'%';
