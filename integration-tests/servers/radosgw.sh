#!/usr/bin/env bash
# A Ceph cluster of one node with its S3 gateway, in memory, for as long as its standard input is open:
# `radosgw.sh DIR GATEWAY_PORT MON_PORT MON_PORT KEY_ID SECRET_KEY`. It prints `ready` once the gateway answers.
#
# When its input ends, since whoever started it wants so or is dead, it kills what it started and deletes DIR.
set -euo pipefail

dir=$1 gateway_port=$2 mon_port=$3 old_mon_port=$4 key_id=$5 secret_key=$6
pids=()

cleanup() {
    trap - EXIT
    {
        [ ${#pids[@]} -eq 0 ] || kill -9 "${pids[@]}"
        wait
    } 2>/dev/null || true
    rm -rf "$dir"
}
trap cleanup EXIT
trap 'exit 1' INT TERM HUP

fail() {
    printf 'error: %s; the logs:\n' "$*" >&2
    tail --lines 20 "$dir"/*.log >&2 || true
    exit 1
}

configure() {
    cat >"$dir/ceph.conf" <<CONF
[global]
fsid = $(cat /proc/sys/kernel/random/uuid)
mon_host = [v2:127.0.0.1:$mon_port/0,v1:127.0.0.1:$old_mon_port/0]
public_network = 127.0.0.0/8
auth_cluster_required = cephx
auth_service_required = cephx
auth_client_required = cephx
keyring = $dir/keyring
run_dir = $dir
admin_socket = $dir/\$name.asok
pid_file =
log_file =
log_to_stderr = true
err_to_stderr = true
mon_cluster_log_file = /dev/null
crash_dir = $dir
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 1
osd_pool_default_pgp_num = 1
osd_pool_default_pg_autoscale_mode = off
osd_crush_chooseleaf_type = 0
[mon]
paxos_propose_interval = 0.05
mon_data = $dir/mon
mon_allow_pool_size_one = true
mon_data_avail_crit = 1
mon_data_avail_warn = 1
mon_warn_on_pool_no_redundancy = false
[mgr]
mgr_data = $dir/mgr
mgr_initial_modules =
[osd]
osd_data = $dir/osd
osd_objectstore = memstore
memstore_device_bytes = 4294967296
osd_crush_update_on_start = false
[client]
rgw_data = $dir/rgw
rgw_frontends = beast endpoint=127.0.0.1:$gateway_port tcp_nodelay=1
rgw_enable_usage_log = false
rgw_run_sync_thread = false
rgw_enable_gc_threads = false
rgw_enable_lc_threads = false
rgw_enable_quota_threads = false
rbd_cache = false
CONF
}

# The daemons stay in the foreground, as children whose ids are known.
start() {
    local name=$1
    shift
    "$@" >"$dir/$name.log" 2>&1 </dev/null &
    pids+=($!)
}

mkdir -p "$dir"/{mon,mgr,osd,rgw}
configure
export CEPH_CONF=$dir/ceph.conf
fsid=$(sed -n 's/^fsid = //p' "$CEPH_CONF")

ceph-authtool --create-keyring "$dir/keyring" --gen-key --name mon. --cap mon 'allow *' >/dev/null
for entity in client.admin mgr.x osd.0; do
    caps=(--cap mon 'allow *' --cap osd 'allow *' --cap mgr 'allow *')
    ceph-authtool "$dir/keyring" --gen-key --name "$entity" "${caps[@]}" >/dev/null
done
monmaptool --create --fsid "$fsid" --addv a "[v2:127.0.0.1:$mon_port,v1:127.0.0.1:$old_mon_port]" "$dir/monmap" >/dev/null
ceph-mon --mkfs --id a --monmap "$dir/monmap" --keyring "$dir/keyring" >"$dir/mkfs.log" 2>&1 || fail 'no monitor'
start mon ceph-mon --foreground --id a
start mgr ceph-mgr --foreground --id x

ceph() { timeout 30 ceph "$@" >>"$dir/ceph.log" 2>&1; }
osd_uuid=$(cat /proc/sys/kernel/random/uuid)
ceph osd new "$osd_uuid" || fail 'no id for the osd'
ceph osd crush add osd.0 1.0 root=default || fail 'no place for the osd'
ceph-osd --mkfs --id 0 --osd-uuid "$osd_uuid" >>"$dir/mkfs.log" 2>&1 || fail 'no osd'
start osd ceph-osd --foreground --id 0
start gateway radosgw --foreground --name client.admin
timeout 60 radosgw-admin user create --uid forebay --display-name forebay \
    --access-key "$key_id" --secret-key "$secret_key" >"$dir/user.log" 2>&1 || fail 'no user'

end=$((SECONDS + 60))
until (: <"/dev/tcp/127.0.0.1/$gateway_port") 2>/dev/null; do
    [ "$SECONDS" -lt "$end" ] || fail 'the gateway does not listen'
    kill -0 "${pids[@]}" || fail 'a daemon ended'
    sleep 0.1
done
echo ready
cat >/dev/null
