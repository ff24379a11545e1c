#!/usr/bin/env bash
# Installs what a build of Forebay needs and this machine lacks: `scripts/install-build-deps.sh [PACKAGE...]`.
# Further packages can be named. Quick where nothing is missing: it asks dpkg and changes nothing.
set -euo pipefail

fail() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

# From docs/adr/0001-rocksdb-from-the-system.md, which also says what it costs.
from_source='export ROCKSDB_COMPILE=1 ROCKSDB_INCLUDE_DIR=rocksdb/include CXXFLAGS="-include cstdint"'

packages=(
    build-essential    # the linker and libstdc++
    ca-certificates    # cargo's and the S3 client's trust
    libclang-dev       # bindgen reads RocksDB's header with it
    pkg-config
    protobuf-compiler  # the wire's messages
    "$@"
)
[ -n "${ROCKSDB_COMPILE:-}" ] || packages+=(librocksdb-dev)

need_rust() {
    command -v cargo >/dev/null \
        || fail "cargo is not installed (PATH=$PATH): install Rust with rustup, then open a new shell"
    local component
    for component in fmt clippy; do
        cargo "$component" --version >/dev/null 2>&1 && continue
        command -v rustup >/dev/null || fail "cargo $component is missing: install the components rustfmt and clippy"
        rustup component add rustfmt clippy
    done
}

installed() {
    local names=("$1")
    # Any version of libclang with its headers will do, without the package that picks one.
    [ "$1" != libclang-dev ] || names+=('libclang-[0-9]*-dev')
    grep --quiet --line-regexp installed < <(dpkg-query --show --showformat '${db:Status-Status}\n' "${names[@]}" 2>/dev/null)
}

apt() {
    local as_root=()
    [ "$(id -u)" -eq 0 ] || as_root=(sudo)
    ${as_root[@]+"${as_root[@]}"} env DEBIAN_FRONTEND=noninteractive \
        apt-get --quiet --quiet --option DPkg::Lock::Timeout=300 "$@" </dev/null
}

install_missing() {
    local missing=() package
    for package in "${packages[@]}"; do
        installed "$package" || missing+=("$package")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    printf 'installing: %s\n' "${missing[*]}"
    [ "$(id -u)" -eq 0 ] || command -v sudo >/dev/null \
        || fail "packages are missing: run as root: apt-get install ${missing[*]}"
    apt install --yes --no-install-recommends "${missing[@]}" >/dev/null 2>&1 && return 0
    # The lists may be old or not there at all; only then is the network asked for them.
    apt update
    apt install --yes --no-install-recommends "${missing[@]}" >/dev/null || fail "apt-get cannot install: ${missing[*]}"
}

check_rocksdb() {
    local header=/usr/include/rocksdb/version.h major
    [ -z "${ROCKSDB_COMPILE:-}" ] || return 0
    [ -e "$header" ] || fail "RocksDB's headers are missing ($header): install librocksdb 7.x with them, or compile it:
  $from_source"
    major=$(sed -n 's/^#define ROCKSDB_MAJOR  *//p' "$header")
    [ "$major" = 7 ] || fail "this system has RocksDB $major, and Forebay is made for 7.x: compile that one, which takes a while:
  $from_source"
}

need_rust
if command -v dpkg-query >/dev/null && command -v apt-get >/dev/null; then
    install_missing
else
    printf 'no Debian system: these are needed, under whatever names: %s\n' "${packages[*]}" >&2
    command -v protoc >/dev/null || fail "protoc is missing: install the Protocol Buffers compiler"
fi
check_rocksdb
