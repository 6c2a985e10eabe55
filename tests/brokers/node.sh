# What a Kafka node and a RabbitMQ node have in common: a directory, ports that stay theirs, one process, one log.
# Sourced by `kafka` and `rabbitmq`, which set `NODE_LOG` (relative to the node's directory) and define `answers`.
#
# Only processes whose id *and* start time stand in the node's own `pid` file are ever signalled, so that an id that
# the system has given to somebody else in the meantime is left alone.
# shellcheck shell=bash disable=SC2317,SC2153 # called by name, set by the sourcing script

set -euo pipefail
umask 022

die() {
    echo "$PROGRAM: $*" >&2
    exit 1
}

# --- time -------------------------------------------------------------------------------------------------------

# within SECONDS COMMAND...: polls until COMMAND succeeds; fails when it has not by then.
within() {
    local deadline=$((SECONDS + $1))
    shift
    until "$@"; do
        ((SECONDS < deadline)) || return 1
        sleep 0.05
    done
}

# --- the process ------------------------------------------------------------------------------------------------

# When process $1 started, in clock ticks since boot; nothing if it is gone or a zombie.
started_at() {
    local stat
    { stat=$(<"/proc/$1/stat"); } 2>/dev/null || return 0
    stat=${stat##*) } # the name, in parentheses, may contain blanks
    read -ra stat <<<"$stat"
    [[ ${stat[0]} == [ZX] ]] || echo "${stat[19]}"
}

# record FILE PID: remembers a process.
record() {
    local started
    started=$(started_at "$2")
    echo "$2 ${started:-gone}" >"$1"
}

# recorded FILE: the process that FILE names, if it is still the same one.
recorded() {
    local pid started
    [[ -s $1 ]] || return 1
    read -r pid started <"$1"
    [[ $(started_at "$pid") == "$started" ]] || return 1
    echo "$pid"
}

running() { recorded "$NODE/pid" >/dev/null; }
not_running() { ! running; }

# signal NAME: to this node's process, which has to be there.
signal() {
    local pid
    pid=$(recorded "$NODE/pid") || die "$NODE: not running"
    kill -s "$1" "$pid"
}

# pause: SIGSTOP, until every thread has stopped: one that is busy goes on until it hears of it.
pause() {
    local pid
    pid=$(recorded "$NODE/pid") || die "$NODE: not running"
    signal STOP
    all_stopped() { ! sed -n 's/^State:\t//p' "/proc/$pid/task/"*/status | grep -qv '^T'; }
    within 10 all_stopped || die "$NODE: not stopped by SIGSTOP within 10 s"
}

# end_process FILE SECONDS: stops the recorded process in order; says so and kills it if it takes too long.
end_process() {
    local pid
    pid=$(recorded "$1") || return 0
    kill -s CONT "$pid"
    kill -s TERM "$pid"
    ends() { ! recorded "$1" >/dev/null; }
    if ! within "$2" ends "$1"; then
        echo "$PROGRAM: $NODE: process $pid did not stop within $2 s, killing it" >&2
        kill -s KILL "$pid"
        within 10 ends "$1" || die "$NODE: process $pid is still there after SIGKILL"
    fi
    rm -f "$1"
}

# --- ports ------------------------------------------------------------------------------------------------------

# A node keeps its ports while it is down, so that it comes back where its clients look for it. They come from below
# the range that the system hands out by itself, and are reserved for a node's directory for as long as that is there.
PORTS=${TMPDIR:-/tmp}/minchat-bridge-ports.$(id -u)

listening() {
    local hex
    printf -v hex '%04X' "$1"
    cat /proc/net/tcp* | awk -v port=":$hex" '
        $4 == "0A" && substr($2, length($2) - 4) == port { found = 1 }
        END { exit !found }'
}

# reserve_port [PORT]: prints a port that is now this node's.
reserve_port() {
    local port owner tries
    mkdir -p "$PORTS"
    (
        flock 9
        for ((tries = 0; tries < 500; tries++)); do
            port=${1:-$((15000 + RANDOM % 15000))}
            owner=$(cat "$PORTS/$port" 2>/dev/null) || owner=
            if [[ -z $owner || $owner == "$NODE" || ! -e $owner/node ]] && ! listening "$port"; then
                echo "$NODE" >"$PORTS/$port"
                echo "$port"
                exit 0
            fi
            [[ -z ${1:-} ]] || die "port $port is in use${owner:+, or reserved for $owner}"
        done
        die "no free port found"
    ) 9>"$PORTS/lock"
}

# --- the node's own settings, kept across restarts ----------------------------------------------------------------

# keep NAME VALUE: into the file `node`, which `load` reads back.
keep() { printf '%s=%q\n' "$1" "$2" >>"$NODE/node"; }

load() {
    [[ -s $NODE/node ]] || die "$NODE: no node has been started there"
    # shellcheck disable=SC1091
    . "$NODE/node"
}

# --- starting and waiting -----------------------------------------------------------------------------------------

log_tail() {
    echo "--- the end of $NODE/$NODE_LOG"
    [[ ! -e $NODE/$NODE_LOG ]] || tail -n 25 "$NODE/$NODE_LOG"
    echo "---"
} >&2

# await_answer SECONDS: until the broker answers a request, or its process has ended.
await_answer() {
    ends_or_answers() { not_running || answers; }
    within "$1" ends_or_answers || {
        log_tail
        die "$NODE: no answer on port $PORT within $1 s"
    }
    running || {
        log_tail
        die "$NODE: the process ended while it was starting"
    }
}

# ask PORT REPLY_BYTES REQUEST: sends the bytes of REQUEST (printf escapes) to a port of this machine, prints the
# first REPLY_BYTES bytes of what comes back in hex. Nothing, if nothing comes within 2 s.
ask() {
    # shellcheck disable=SC2016 # expanded by the inner shell
    timeout 2 bash -c '
        exec 3<>"/dev/tcp/127.0.0.1/$1" || exit 1
        printf "$3" >&3
        head -c "$2" <&3 | od -An -v -tx1 | tr -d " \n"
    ' ask "$@" 2>/dev/null
}
