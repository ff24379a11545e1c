#!/bin/sh
# Installs pjdfstest, which judges whether a file system is as POSIX says, and prints the path of the binary.
# It lives under ~/.cache/forebay; a second run only looks. Building it takes a minute or two, once.
set -eu

version=0.2.2
folder="${XDG_CACHE_HOME:-$HOME/.cache}/forebay/pjdfstest-$version"
binary="$folder/bin/pjdfstest"

if [ ! -e "$binary" ]; then
    mkdir -p "$folder"
    # Several test processes may come here at once: the first installs, the others wait and find it done.
    exec 9>"$folder.lock"
    flock 9
    if [ ! -e "$binary" ]; then
        # From / and with a build folder of its own, since the settings and build output of this workspace are none of its.
        (cd / && env -u CARGO_TARGET_DIR cargo install --quiet --locked --root "$folder" --version "$version" pjdfstest 9>&-) >&2
    fi
fi
echo "$binary"
