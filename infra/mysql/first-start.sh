# Sourced (not run) by the image's entrypoint at the first start; `docker_process_sql` is the entrypoint's.

for name in MYSQL_AUTH_PASSWORD MYSQL_SYNC_PASSWORD MYSQL_DEBEZIUM_PASSWORD; do
    case ${!name:-} in
    '' | *[!A-Za-z0-9._-]*)
        echo "$name must be made of letters, digits, '.', '_' and '-': it is part of a URL" >&2
        exit 1
        ;;
    esac
done

sed -e "s/\${MYSQL_AUTH_PASSWORD}/$MYSQL_AUTH_PASSWORD/" \
    -e "s/\${MYSQL_SYNC_PASSWORD}/$MYSQL_SYNC_PASSWORD/" \
    -e "s/\${MYSQL_DEBEZIUM_PASSWORD}/$MYSQL_DEBEZIUM_PASSWORD/" \
    /etc/tandem/accounts.sql | docker_process_sql --database=mysql
