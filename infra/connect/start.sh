#!/bin/bash
# Starts Kafka Connect in Debezium's image with the settings of worker.properties and the same security settings of
# Kafka as the services (KAFKA_…). The image turns each variable CONNECT_… into a setting of the worker.
set -euo pipefail

KAFKA_HOME=${KAFKA_HOME:-/kafka}
keystore=${CONNECT_KEYSTORE:-/tmp/kafka-keystore.pem}
protocol=${KAFKA_SECURITY_PROTOCOL:-PLAINTEXT}

# The image reads some settings from variables without CONNECT_ and ignores their CONNECT_… ones, so both are set.
# A variable of the container overrides the file.
set_worker_setting() {
    local name=${1//./_}
    name=${name^^}
    local prefixed=CONNECT_$name
    local value=${!prefixed-${!name-$2}}
    export "$name=$value" "$prefixed=$value"
}

# For the worker's own clients and for those that it creates for connectors.
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

while IFS="=" read -r key value; do
    if [[ -n $key && $key != \#* ]]; then
        set_worker_setting "$key" "$value"
    fi
done <"${BASH_SOURCE[0]%/*}/worker.properties"

if [[ ${CONNECT_EXACTLY_ONCE:-false} == true ]]; then
    export CONNECT_EXACTLY_ONCE_SOURCE_SUPPORT=enabled
fi
# The image would take it for a setting of the worker.
unset CONNECT_EXACTLY_ONCE

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
    # The image logs all settings but these when it starts.
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

# Otherwise the image edits the file of its last start with sed, which fails for a password with an @.
rm -f "$KAFKA_HOME/config/connect-distributed.properties"
exec "${CONNECT_ENTRYPOINT:-/docker-entrypoint.sh}" start
