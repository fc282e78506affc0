#!/bin/sh
# Make .venv with the first Python that will do; what is missing is named in one line.
#
#     sh tools/setup.sh          make .venv, unless there is one that fits
#     sh tools/setup.sh fits     exit 0 if there is a .venv that fits this checkout
set -eu
stop() { echo "make setup: $1" >&2; exit 1; }

# The scripts of a .venv name its folder, and its Python is a link: neither may have moved since.
fits() {
    [ -f .venv/pyvenv.cfg ] && .venv/bin/python -c 'import pip' 2> /dev/null || return 1
    while IFS= read -r line; do
        case $line in "command = "*" $(pwd -P)/.venv") return 0 ;; esac
    done < .venv/pyvenv.cfg
    return 1
}
if [ "${1:-}" = fits ]; then fits && exit || exit 1; fi

# The classifiers of pyproject.toml list the Pythons for which there are pins, in ascending order.
oldest='' newest='' names=''
while IFS= read -r line; do
    case $line in *'"Programming Language :: Python :: 3.'*)
        newest=${line#*:: 3.}
        newest=${newest%%\"*}
        oldest=${oldest:-$newest}
        names="python3.$newest $names" ;;
    esac
done < pyproject.toml
pins=${CONSTRAINTS-constraints.txt}

version() { "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2> /dev/null; }
too_new() { [ -n "$pins" ] && [ "${1#3.}" -gt "$newest" ]; }
refuse() {
    stop "$pins has releases for Python 3.$oldest to 3.$newest, not for $1: choose another with PYTHON=python3.$newest, or the newest of everything with CONSTRAINTS="
}

command -v git > /dev/null || stop "git is missing (Debian, Ubuntu: apt-get install git)"
if fits; then
    found=$(version .venv/bin/python)
    if too_new "$found"; then refuse "$found"; fi
    exit 0
fi

if [ -n "${PYTHON:-}" ]; then set -- "$PYTHON"; else set -- python3 $names; fi
seen=none newer=''
for python in "$@"; do
    found=$(version "$python") || continue
    if [ "${found#3.}" -lt "$oldest" ]; then
        seen="only $found"
    elif too_new "$found"; then
        newer=$found
    elif ! "$python" -c 'import ensurepip, venv' 2> /dev/null; then
        seen="$found without venv (Debian, Ubuntu: apt-get install python$found-venv)"
    else
        echo "making .venv with Python $found"
        exec "$python" -m venv --clear .venv
    fi
done
if [ -n "$newer" ]; then refuse "$newer"; fi
stop "Python 3.$oldest or newer, with venv, is missing; found: $seen"
