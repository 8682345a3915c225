# The image's entrypoint sources this file at the first start; it defines `docker_process_sql`.

for name in MYSQL_AUTH_PASSWORD MYSQL_SYNC_PASSWORD MYSQL_DEBEZIUM_PASSWORD; do
    case ${!name:-} in
    '' | *[!A-Za-z0-9._-]*)
        echo "$name may contain letters, digits, '.', '_' and '-' only, because it is part of a URL" >&2
        exit 1
        ;;
    esac
done

sed -e "s/\${MYSQL_AUTH_PASSWORD}/$MYSQL_AUTH_PASSWORD/" \
    -e "s/\${MYSQL_SYNC_PASSWORD}/$MYSQL_SYNC_PASSWORD/" \
    -e "s/\${MYSQL_DEBEZIUM_PASSWORD}/$MYSQL_DEBEZIUM_PASSWORD/" \
    /etc/tandem/accounts.sql | docker_process_sql --database=mysql
