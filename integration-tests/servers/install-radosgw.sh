#!/usr/bin/env bash
# Installs what `radosgw.sh` starts: the daemons of Ceph and its S3 gateway. Changes nothing where all of it is there.
set -euo pipefail

packages=(ceph-common ceph-mgr ceph-mon ceph-osd radosgw)
programs=(ceph ceph-authtool ceph-mgr ceph-mon ceph-osd monmaptool radosgw radosgw-admin)

missing=0
for program in "${programs[@]}"; do
    command -v "$program" >/dev/null || missing=1
done
[ "$missing" = 1 ] || exit 0

command -v apt-get >/dev/null || {
    echo "error: no Debian system: install Ceph's monitor, manager, osd and radosgw by hand" >&2
    exit 1
}
as_root=()
[ "$(id -u)" -eq 0 ] || as_root=(sudo)
apt() {
    ${as_root[@]+"${as_root[@]}"} env DEBIAN_FRONTEND=noninteractive \
        apt-get --quiet --quiet --option DPkg::Lock::Timeout=300 "$@" </dev/null >&2
}
echo "installing: ${packages[*]}" >&2
apt install --yes --no-install-recommends "${packages[@]}" 2>/dev/null || {
    apt update
    apt install --yes --no-install-recommends "${packages[@]}"
}
