-- Schemas, and one account for each program with the least it needs. Run as root at the first start of the
-- container, and at every start of the embedded stack; the passwords are substituted.

CREATE DATABASE IF NOT EXISTS auth CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_ai_ci;
CREATE DATABASE IF NOT EXISTS tweets CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_ai_ci;

-- auth-service owns the schema `auth`: it migrates it and works in it.
CREATE USER IF NOT EXISTS 'auth_service'@'%' IDENTIFIED BY '${MYSQL_AUTH_PASSWORD}';
ALTER USER 'auth_service'@'%' IDENTIFIED BY '${MYSQL_AUTH_PASSWORD}';
GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER, DROP, INDEX, REFERENCES ON auth.* TO 'auth_service'@'%';

-- sync-service owns the copies in the schema `tweets`.
CREATE USER IF NOT EXISTS 'sync_service'@'%' IDENTIFIED BY '${MYSQL_SYNC_PASSWORD}';
ALTER USER 'sync_service'@'%' IDENTIFIED BY '${MYSQL_SYNC_PASSWORD}';
GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER, DROP, INDEX, REFERENCES, CREATE VIEW, SHOW VIEW ON tweets.*
    TO 'sync_service'@'%';
-- Of `auth` it sees what it copies, to compare the copy with it and to name authors in its views, and nothing else.
-- (A right on a table that does not exist yet is granted together with that to create it only, which is taken away again.)
GRANT SELECT, CREATE ON auth.users TO 'sync_service'@'%';
REVOKE CREATE ON auth.users FROM 'sync_service'@'%';

-- Debezium reads the binary log (which is of the whole server) and takes snapshots of what it captures.
CREATE USER IF NOT EXISTS 'debezium'@'%' IDENTIFIED BY '${MYSQL_DEBEZIUM_PASSWORD}';
ALTER USER 'debezium'@'%' IDENTIFIED BY '${MYSQL_DEBEZIUM_PASSWORD}';
GRANT RELOAD, SHOW DATABASES, REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO 'debezium'@'%';
GRANT SELECT, LOCK TABLES ON auth.* TO 'debezium'@'%';
