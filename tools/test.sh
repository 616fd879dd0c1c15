#!/usr/bin/env bash
# All tests and, in the smoke profile, all notebooks: one pytest run, so that its last line counts everything.
# Usage: tools/test.sh [workers] [pytest options]
set -euo pipefail
cd "$(dirname "$0")/.."
workers="${1:-2}"
[ $# -gt 0 ] && shift

export FACET_PROFILE=smoke FACET_THREADS=1 OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
export OMP_WAIT_POLICY=PASSIVE PYTHONHASHSEED=0 TQDM_DISABLE=1 PYDEVD_DISABLE_FILE_VALIDATION=1
export ANNY_CACHE_DIR="$PWD/data/cache/anny"
unset FACET_HOME FACET_STAGE

# A file's tests and a notebook's cells stay on one worker.
targets=(tests)
compgen -G "notebooks/[0-9]*.ipynb" >/dev/null && targets+=(notebooks --nbval-lax --nbval-cell-timeout 900)
exec .venv/bin/python -m pytest -q -n "$workers" --dist loadfile "${targets[@]}" "$@"
