#!/bin/bash
# Starts Kafka Connect as Debezium's image does, with the security settings of Kafka that the services have (KAFKA_…).
# The image makes a property of the worker of each CONNECT_…: here for its own clients, and for those of connectors.
set -euo pipefail

KAFKA_HOME=${KAFKA_HOME:-/kafka}
keystore=${CONNECT_KEYSTORE:-/tmp/kafka-keystore.pem}
protocol=${KAFKA_SECURITY_PROTOCOL:-PLAINTEXT}

for_all_clients() {
    local client
    for client in "" PRODUCER_ CONSUMER_ ADMIN_; do
        export "CONNECT_$client$1=$2"
    done
}

# In the text of a login module, and then in a file of properties, which Java reads as Latin-1.
escaped() {
    local LC_ALL=C.UTF-8 text=${1//\\/\\\\} character code
    text=${text//\"/\\\"}
    text=${text//\\/\\\\}
    while IFS= read -r -N 1 character; do
        printf -v code '%d' "'$character"
        if ((code < 128)); then
            printf '%s' "$character"
        elif ((code < 65536)); then
            printf '\\u%04x' "$code"
        else
            printf '\\u%04x\\u%04x' $((0xd800 + (code - 65536) / 1024)) $((0xdc00 + (code - 65536) % 1024))
        fi
    done < <(printf '%s' "$text")
}

if [[ $protocol != PLAINTEXT ]]; then
    for_all_clients SECURITY_PROTOCOL "$protocol"
fi
if [[ $protocol == SASL_* ]]; then
    password=${KAFKA_SASL_PASSWORD:-}
    if [[ -n $password && -n ${KAFKA_SASL_PASSWORD_FILE:-} ]]; then
        echo "KAFKA_SASL_PASSWORD and KAFKA_SASL_PASSWORD_FILE are both set; set one of them" >&2
        exit 1
    fi
    if [[ -n ${KAFKA_SASL_PASSWORD_FILE:-} ]]; then
        password=$(<"$KAFKA_SASL_PASSWORD_FILE")
    fi
    module=scram.ScramLoginModule
    if [[ ${KAFKA_SASL_MECHANISM:?} == PLAIN ]]; then
        module=plain.PlainLoginModule
    fi
    user=$(escaped "${KAFKA_SASL_USERNAME:?}")
    login="org.apache.kafka.common.security.$module required username=\"$user\" password=\"$(escaped "$password")\";"
    for_all_clients SASL_MECHANISM "$KAFKA_SASL_MECHANISM"
    for_all_clients SASL_JAAS_CONFIG "$login"
    # The image shows all others when it starts.
    export SENSITIVE_PROPERTIES=CONNECT_SASL_JAAS_CONFIG,CONNECT_PRODUCER_SASL_JAAS_CONFIG
    SENSITIVE_PROPERTIES+=,CONNECT_CONSUMER_SASL_JAAS_CONFIG,CONNECT_ADMIN_SASL_JAAS_CONFIG
fi
if [[ $protocol == *SSL && -n ${KAFKA_SSL_CA:-} ]]; then
    for_all_clients SSL_TRUSTSTORE_TYPE PEM
    for_all_clients SSL_TRUSTSTORE_LOCATION "$KAFKA_SSL_CA"
fi
if [[ $protocol == *SSL && -n ${KAFKA_SSL_CERT:-} ]]; then
    if ! grep -q -- "-----BEGIN PRIVATE KEY-----" "${KAFKA_SSL_KEY:?}"; then
        echo "KAFKA_SSL_KEY: Kafka Connect reads keys in PKCS #8 only; convert it: openssl pkcs8 -topk8 -nocrypt" >&2
        exit 1
    fi
    (umask 077 && cat "$KAFKA_SSL_KEY" "$KAFKA_SSL_CERT" >"$keystore")
    for_all_clients SSL_KEYSTORE_TYPE PEM
    for_all_clients SSL_KEYSTORE_LOCATION "$keystore"
fi
unset KAFKA_SASL_PASSWORD

# The image would edit the file of its last start, in which a password must not have an @.
rm -f "$KAFKA_HOME/config/connect-distributed.properties"
exec "${CONNECT_ENTRYPOINT:-/docker-entrypoint.sh}" start
