#!/usr/bin/env bash
# Installs what the readers of training data need, and prints the path of a Python that has all of it.
# PyTorch and torchvision are Debian's, which take a tenth of the room of PyPI's; the rest lives in an environment of its own
# under ~/.cache/forebay. A second run only looks.
set -euo pipefail

versions=(webdataset==1.0.2 pyarrow==18.1.0 safetensors==0.5.3)
cache="${XDG_CACHE_HOME:-$HOME/.cache}/forebay"
venv="$cache/loaders"
stamp="$venv/installed"

packages=(python3-venv python3-numpy python3-pil python3-torch python3-torchvision)
install_packages="$(dirname "$0")/../../scripts/install-build-deps.sh"

if [ "$(cat "$stamp" 2>/dev/null)" != "${versions[*]}" ]; then
    mkdir -p "$cache"
    # Several test processes may come here at once: the first installs, the others wait and find it done.
    exec 9>"$venv.lock"
    flock 9
    if [ "$(cat "$stamp" 2>/dev/null)" != "${versions[*]}" ]; then
        "$install_packages" "${packages[@]}" >&2
        # Debian's own Python, whichever one comes first on the path: only it sees Debian's PyTorch.
        /usr/bin/python3 -m venv --clear --system-site-packages "$venv" >&2
        "$venv/bin/pip" install --quiet --disable-pip-version-check "${versions[@]}" >&2
        echo "${versions[*]}" >"$stamp"
    fi
fi
echo "$venv/bin/python"
