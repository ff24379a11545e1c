#!/usr/bin/env bash
# Puts a built Forebay where the system finds it, or takes it away: `scripts/install.sh install|uninstall`.
# PREFIX is /usr/local unless set. SBINDIR (/sbin) holds the helper, since mount(8) looks nowhere else, and SYSCONFDIR
# is /etc. DESTDIR goes before all of them.
set -euo pipefail

repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
templates="$repository/scripts/install"
prefix=${PREFIX:-/usr/local}
root=${DESTDIR:-}
bin="$prefix/bin"
sbin=${SBINDIR:-/sbin}
etc=${SYSCONFDIR:-/etc}/forebay
units="$prefix/lib/systemd/system"
forebay=${FOREBAY_BIN:-${CARGO_TARGET_DIR:-$repository/target}/release/forebay}

fail() {
    printf 'error: %s\n' "$1" >&2
    exit "${2:-1}"
}

# Each installed file, without DESTDIR.
completions=(
    "bash $prefix/share/bash-completion/completions/forebay"
    "zsh $prefix/share/zsh/site-functions/_forebay"
    "fish $prefix/share/fish/vendor_completions.d/forebay.fish"
)
helpers=("$sbin/mount.fuse.forebay" "$sbin/mount.forebay")
services=(forebay-local forebay-master forebay-worker)

may_write() {
    local at="$root$1"
    while [ ! -e "$at" ]; do at=$(dirname "$at"); done
    [ -w "$at" ] || fail "$at cannot be written: run as root (sudo make install), or choose another PREFIX"
}

# put MODE TARGET: standard input becomes the file, which replaces an older one as a whole.
put() {
    local mode=$1 target="$root$2"
    mkdir -p "$(dirname "$target")"
    cat >"$target.new"
    chmod "$mode" "$target.new"
    mv "$target.new" "$target"
    printf '  %s\n' "$2"
}

filled_in() { sed -e "s|@BINDIR@|$bin|g" -e "s|@SYSCONFDIR@|$etc|g" "$templates/$1"; }

reload_systemd() {
    # Not for a package that is only being made, nor where systemd does not run.
    if [ -z "$root" ] && [ -d /run/systemd/system ]; then
        systemctl daemon-reload || true
    fi
}

install_all() {
    local line shell name
    [ -x "$forebay" ] || fail "there is no $forebay yet: make build"
    for name in "$bin" "$prefix/share" "$sbin" "$etc"; do may_write "$name"; done
    printf 'installed:\n'
    put 0755 "$bin/forebay" <"$forebay"
    # Line tables are for whoever builds it, and take three quarters of the file.
    strip --strip-debug "$root$bin/forebay" || printf '  (not stripped: it works as it is)\n'
    for line in "${completions[@]}"; do
        read -r shell name <<<"$line"
        "$forebay" completion "$shell" | put 0644 "$name"
    done
    for name in "${helpers[@]}"; do filled_in mount.fuse.forebay | put 0755 "$name"; done
    for name in "${services[@]}"; do filled_in "$name.service" | put 0644 "$units/$name.service"; done
    # What somebody may have changed is never replaced.
    [ -e "$root$etc/forebay.toml" ] || put 0644 "$etc/forebay.toml" <"$repository/docs/samples/forebay.toml"
    reload_systemd
    printf 'next: look through %s, then: systemctl enable --now forebay-local\n' "$etc/forebay.toml"
}

uninstall_all() {
    local name files=("$bin/forebay" "${helpers[@]}")
    for name in "${completions[@]}"; do files+=("${name#* }"); done
    for name in "${services[@]}"; do
        if [ -z "$root" ] && [ -d /run/systemd/system ] && systemctl is-active --quiet "$name"; then
            fail "$name runs: systemctl disable --now $name"
        fi
        files+=("$units/$name.service")
    done
    for name in "${files[@]}"; do
        [ -e "$root$name" ] || continue
        rm "$root$name" || fail "$root$name cannot be removed: run as root"
        printf '  removed %s\n' "$name"
    done
    reload_systemd
    printf 'left: %s and what the processes wrote under /var/lib/forebay\n' "$etc"
}

case ${1:-} in
    install) install_all ;;
    uninstall) uninstall_all ;;
    *) fail "install.sh install|uninstall" 2 ;;
esac
