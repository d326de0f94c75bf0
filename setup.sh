#!/usr/bin/env bash
# Set ffr3d up in ./.venv. Idempotent; a second run takes a second.
#
#   ./setup.sh          what `make demo` and `make test` call
#   PYTHON=/path/to/python3.12 ./setup.sh    use this interpreter
#   TORCH_INDEX=https://... ./setup.sh       also look for torch in this package index (empty: PyPI alone)
#
# Needs CPython 3.12-3.14, a C compiler (the finite-element kernels are compiled on first use) and a few
# system libraries. What is missing is installed from Debian/Ubuntu packages when the script runs as root,
# and named in one sentence when it does not. Nothing else outside this folder is touched.
set -euo pipefail
cd "$(dirname "$0")"

say() { printf '\033[1m[setup]\033[0m %s\n' "$*"; }
die() { printf '[setup] ERROR: %s\n' "$*" >&2; exit 2; }

stamp=.venv/.ffr3d-setup
want=$(cat setup.sh pyproject.toml constraints.txt | sha256sum | cut -d' ' -f1)
if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$want" ] && .venv/bin/python -c 'import pipeline' 2>/dev/null; then
    exit 0
fi

[ "$(uname -s)-$(uname -m)" = Linux-x86_64 ] || die "the solver's wheels exist for Linux on x86_64 only; elsewhere install \
fenics-dolfinx 0.11 from conda-forge and then 'pip install -e .' (README, section Clusters)"

apt_updated=no
apt_install() {  # apt_install PACKAGE... : as root install, else say what to run
    command -v apt-get >/dev/null || die "please install with your package manager: $*"
    [ "$(id -u)" = 0 ] || die "missing system packages; run: sudo apt-get install -y --no-install-recommends $*"
    say "system packages: $*"
    [ "$apt_updated" = yes ] || { apt-get update -qq; apt_updated=yes; }
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

# 1. Python 3.12-3.14 with venv and headers ------------------------------------------------------------
good_python() {  # version in range, can make environments with pip, has Python.h
    "$1" - <<'PY' >/dev/null 2>&1
import sys, sysconfig, pathlib, ensurepip, venv
ok = (3, 12) <= sys.version_info[:2] <= (3, 14) and sys.implementation.name == "cpython"
ok = ok and not sysconfig.get_config_var("Py_GIL_DISABLED")
sys.exit(0 if ok and pathlib.Path(sysconfig.get_path("include"), "Python.h").exists() else 1)
PY
}
find_python() {
    local candidate
    for candidate in "${PYTHON:-}" python3.13 python3.12 python3.14 python3; do
        if [ -n "$candidate" ] && command -v "$candidate" >/dev/null && good_python "$candidate"; then
            command -v "$candidate"; return 0
        fi
    done
    return 1
}
distribution() { . /etc/os-release 2>/dev/null && printf '%s-%s' "${ID:-}" "${VERSION_ID:-}"; }

if ! python=$(find_python); then
    case "$(distribution)" in
        debian-12)
            [ "$(id -u)" = 0 ] || command -v uv >/dev/null || die "Debian 12 has no Python >= 3.12; run this script once \
as root (it adds Debian 13's python3.13, pinned so that nothing else changes) or install uv"
            if [ "$(id -u)" = 0 ]; then
                say "Debian 12 has Python 3.11 only: adding python3.13 from Debian 13, pinned to priority 100"
                cat > /etc/apt/sources.list.d/ffr3d-trixie.sources <<'SRC'
Types: deb
URIs: http://deb.debian.org/debian
Suites: trixie
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
SRC
                printf 'Package: *\nPin: release n=trixie\nPin-Priority: 100\n' > /etc/apt/preferences.d/ffr3d-trixie
                apt_install -t trixie python3.13 python3.13-venv python3.13-dev python3-pip-whl
            fi ;;
        debian-13) apt_install python3.13 python3.13-venv python3.13-dev ;;
        ubuntu-24.04) apt_install python3.12 python3.12-venv python3.12-dev ;;
        ubuntu-25.*) apt_install python3.13 python3.13-venv python3.13-dev ;;
        ubuntu-26.*) apt_install python3.14 python3.14-venv python3.14-dev ;;
    esac
    if ! python=$(find_python); then
        if command -v uv >/dev/null; then
            say "taking Python 3.13 from uv"
            uv python install 3.13 && python=$(uv python find 3.13)
        else
            die "needs CPython 3.12, 3.13 or 3.14 with its venv module and headers (python3.X, python3.X-venv, \
python3.X-dev); found none. Install one, or uv, or name one with PYTHON=/path/to/python"
        fi
    fi
fi

# 2. Compiler and the libraries that Gmsh and VTK load --------------------------------------------------
missing=()
command -v cc >/dev/null || missing+=(gcc libc6-dev)
have() { ldconfig -p | grep -q "$1"; }
while read -r library package; do
    have "$library" || missing+=("$package")
done <<'LIBS'
libGLU.so.1 libglu1-mesa
libGL.so.1 libgl1
libEGL.so.1 libegl1
libOSMesa.so.8 libosmesa6
libXcursor.so.1 libxcursor1
libXft.so.2 libxft2
libXinerama.so.1 libxinerama1
libXrender.so.1 libxrender1
libXfixes.so.3 libxfixes3
libfontconfig.so.1 libfontconfig1
LIBS
[ ${#missing[@]} = 0 ] || apt_install "${missing[@]}"

# 3. The environment ------------------------------------------------------------------------------------
say "environment in .venv with $("$python" --version)"
[ -x .venv/bin/python ] && .venv/bin/python -c 'import sys' 2>/dev/null || "$python" -m venv --clear .venv
# torch from PyPI brings CUDA, 5 GB; without an NVIDIA GPU the CPU build does, where its index can be reached.
cpu=https://download.pytorch.org/whl/cpu
if [ -z "${TORCH_INDEX+set}" ] && ! command -v nvidia-smi >/dev/null && command -v curl >/dev/null; then
    TORCH_INDEX=$(curl -sfIo /dev/null --max-time 5 "$cpu/torch/" && printf %s "$cpu" || true)
fi
.venv/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt \
    ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"} --editable '.[solver,segmentation,dev]'
printf '%s' "$want" > "$stamp"
say "done: $(.venv/bin/ffr3d --version)"
