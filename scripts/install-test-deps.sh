#!/usr/bin/env bash
# Installs what the tests of Forebay need and this machine lacks: what a build needs, FUSE, and tools for xattrs.
set -euo pipefail
exec "$(dirname "$0")/install-build-deps.sh" fuse3 attr
