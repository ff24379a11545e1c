#!/usr/bin/env bash
# Installs what the tests of Forebay need and this machine lacks: what a build needs, FUSE, tools for xattrs, what makes trouble
# for masters (networks, slow syncs, clocks), Python for readers of training data, the S3 servers, pjdfstest (which links
# libacl), and the loaders of training code.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/install-build-deps.sh fuse3 attr iproute2 iptables strace libfaketime \
    libacl1-dev python3 python3-venv
integration-tests/servers/install-rclone.sh >/dev/null
integration-tests/servers/install-radosgw.sh
integration-tests/servers/install-pjdfstest.sh >/dev/null
integration-tests/servers/install-loaders.sh >/dev/null
