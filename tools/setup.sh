#!/bin/sh
# Set up what the Makefile's targets need: Debian packages, then a Python environment in .venv with this package in it.
#   tools/setup.sh run    what the daemon needs
#   tools/setup.sh test   that, and what the tests need
# Done before: it asks neither apt nor pip anything. Without root, missing packages are named and left out.
set -eu
cd "$(dirname "$0")/.."
kind=${1:-run}
venv=.venv

lists=tools/apt-run.txt
extras=
[ "$kind" = run ] || { lists="$lists tools/apt-test.txt"; extras='[test]'; }

newest_python() {
    for name in python3 python3.13 python3.12 python3.11; do
        if command -v "$name" >/dev/null && "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
            command -v "$name"
            return
        fi
    done
}

lacks() { # which of the packages named on standard input are not installed
    while read -r package; do
        case $(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true) in
            installed) ;;
            *) echo "$package" ;;
        esac
    done
}

wanted() {
    sed 's/#.*//; /^[[:space:]]*$/d; s/[[:space:]]*$//' $lists
    python=$(newest_python)
    if [ -z "$python" ]; then
        printf 'python3\npython3-venv\n'
    elif ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        printf 'python3-venv\npython3-pip\n'
    fi
}

packages=$(wanted | lacks | tr '\n' ' ')
if [ -n "${packages% }" ]; then
    if [ "$(id -u)" = 0 ]; then
        echo "installing $packages" >&2
        export DEBIAN_FRONTEND=noninteractive
        apt-get -q update </dev/null >&2
        # shellcheck disable=SC2086  # one word per package
        apt-get -q install -y --no-install-recommends $packages </dev/null >&2
    else
        echo "not installed, since you are not root: $packages" >&2
    fi
fi

python=$(newest_python)
[ -n "$python" ] || { echo "Python 3.11 or newer is needed" >&2; exit 1; }

# One set-up at a time; the stamp says what .venv was made from, and is written last.
mkdir -p .cache
exec 9>.cache/setup.lock
flock 9
stamp=$({ cat setup.cfg pyproject.toml dtcxen_soap/__init__.py; "$python" -VV; pwd; } | sha256sum | cut -c1-64)
if [ "$(cat $venv/stamp-$kind 2>/dev/null)" = "$stamp" ] || { [ "$kind" = run ] && [ "$(cat $venv/stamp-test 2>/dev/null)" = "$stamp" ]; }; then
    exit 0
fi
echo "making $venv with $("$python" -V)" >&2
rm -f $venv/stamp-*
[ -x $venv/bin/python ] && [ "$($venv/bin/python -VV 2>/dev/null)" = "$("$python" -VV)" ] || "$python" -m venv --clear $venv
$venv/bin/python -m pip install --quiet --disable-pip-version-check --editable ".$extras" </dev/null >&2
echo "$stamp" >$venv/stamp-"$kind"
