#!/usr/bin/env bash
# Runs the examples of docs/cli.md against the cluster of `make quickstart`, each line of its `sh` blocks as it stands.
# An example that fails is shown, and the exit code is 1.
set -euo pipefail

repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
run="$repository/.quickstart/run"
[ -e "$run/forebay.port" ] || {
    echo "error: there is no cluster to run them against: make quickstart" >&2
    exit 1
}
binary=${FOREBAY_BIN:-${CARGO_TARGET_DIR:-$repository/target}/release/forebay}
shortcut=$(mktemp -d)
trap 'rm -rf "$shortcut"' EXIT
ln -s "$binary" "$shortcut/forebay"
export PATH="$shortcut:$PATH" FOREBAY_MASTERS="127.0.0.1:$(<"$run/forebay.port")"

count=0 failed=0
while IFS= read -r line; do
    count=$((count + 1))
    if ! bash -o pipefail -c "$line" </dev/null >"$shortcut/out" 2>&1; then
        failed=$((failed + 1))
        printf 'failed: %s\n' "$line"
        sed 's/^/    /' "$shortcut/out"
    fi
done < <(awk '/^```sh$/ { inside = 1; next } /^```/ { inside = 0 } inside' "$repository/docs/cli.md")
printf '%s examples ran, %s failed\n' "$count" "$failed"
[ "$count" -gt 0 ] && [ "$failed" -eq 0 ]
