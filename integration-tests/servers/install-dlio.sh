#!/usr/bin/env bash
# Installs DLIO, the engine of the benchmark MLPerf Storage, and prints the path of its program. Only the benchmarks need it.
# It takes PyTorch and MPI from Debian; the rest, TensorFlow above all, lives in an environment of its own under
# ~/.cache/forebay. A second run only looks.
set -euo pipefail

# TensorFlow of this age is what DLIO 2.0 was made for; it wants NumPy 1.
versions=(hydra-core omegaconf psutil pydftracer==1.0.2 h5py==3.11.0 pandas==2.2.3 tensorflow-cpu==2.15.1 'numpy<2')
dlio=dlio-benchmark==2.0.0
cache="${XDG_CACHE_HOME:-$HOME/.cache}/forebay"
venv="$cache/dlio"
stamp="$venv/installed"

packages=(python3-venv python3-torch python3-pil python3-mpi4py openmpi-bin)
install_packages="$(dirname "$0")/../../scripts/install-build-deps.sh"

if [ "$(cat "$stamp" 2>/dev/null)" != "$dlio ${versions[*]}" ]; then
    mkdir -p "$cache"
    exec 9>"$venv.lock"
    flock 9
    if [ "$(cat "$stamp" 2>/dev/null)" != "$dlio ${versions[*]}" ]; then
        "$install_packages" "${packages[@]}" >&2
        # Debian's own Python, whichever one comes first on the path: only it sees Debian's PyTorch.
        /usr/bin/python3 -m venv --clear --system-site-packages "$venv" >&2
        "$venv/bin/pip" install --quiet --disable-pip-version-check "${versions[@]}" >&2
        # Its own list has DALI, which is for machines with a GPU.
        "$venv/bin/pip" install --quiet --disable-pip-version-check --no-deps "$dlio" >&2
        echo "$dlio ${versions[*]}" >"$stamp"
    fi
fi
echo "$venv/bin/dlio_benchmark"
