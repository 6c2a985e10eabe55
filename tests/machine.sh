# shellcheck shell=bash
# Where and of what a measurement was made, as lines of Markdown. Read by the scripts that write a result into docs.

machine() {
    local commit versions
    commit=$(git rev-parse --short HEAD)$(git diff --quiet HEAD || echo ', with changes')
    versions=$(
        echo "$(rustc --version | cut -d' ' -f1,2), librdkafka $(sed -n '/^name = "rdkafka-sys"/{n;s/.*+\([0-9.]*\)"/\1/p}' Cargo.lock)"
        echo "Apache Kafka $(basename "$(tests/brokers/kafka resolve)"/kafka-clients-*.jar .jar | sed 's/kafka-clients-//')"
        echo "RabbitMQ $(dpkg-query -W -f '${Version}' rabbitmq-server 2>/dev/null || echo unknown)"
    )
    echo "- Date: $(date --utc +%F\ %R) UTC"
    echo "- Commit: $commit"
    echo "- Machine: $(nproc) cores, $(sed -n 's/^model name\s*: //p' /proc/cpuinfo | head -1), Linux $(uname -r | cut -d- -f1), $(awk '/MemTotal/ {print int($2 / 1048576)}' /proc/meminfo) GiB"
    echo "- Versions: $(paste -sd ';' <<<"$versions" | sed 's/;/, /g')"
}
