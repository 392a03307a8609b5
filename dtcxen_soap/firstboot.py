"""What a system does once, at its first boot, and the program that sees to it inside the guest.

The runner is a shell script that asks for nothing newer than POSIX, since it runs under the bash of 2009
as under busybox. It starts each snippet once, in name order, ends it after its time, tells the outcome on the
console and in a log that only root reads, and at the end removes itself with all that it was given. A snippet that
the end of the machine interrupted is told, and not run again: half of it done twice is worse than half of it done.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

from dtcxen_soap.errors import Failed
from dtcxen_soap.firstbootfacts import FirstbootFact

NAME = "dtcxen-firstboot"
DIRECTORY = f"/var/lib/{NAME}"
LOG = f"/var/log/{NAME}.log"
PASSWORD_FILE = f"{DIRECTORY}/password"
ANSWERS = "debconf"
RUN, WAITING, STARTED = "run", "waiting", "started"
"""Inside DIRECTORY: the runner, snippets that still wait, and the one that runs; beside them what these read, for root alone."""
UNIT = f"/etc/systemd/system/{NAME}.service"
WANTED = f"/etc/systemd/system/multi-user.target.wants/{NAME}.service"
INIT_SCRIPTS = ("/etc/init.d", "/etc/rc.d/init.d")
RC_DIRECTORIES = ("/etc/rc.d/rc", "/etc/init.d/rc", "/etc/rc")
"""Red Hat's, SUSE's and Debian's; a runlevel and .d follow. The first two have links at the places of others."""
RUNLEVELS = "2345"
_GRACE_SECONDS = 10


def order(kind: int, name: str) -> str:
    """A snippet's name inside the guest: the admin's snippets (1) come first, an appliance (2) next, the owner's script (3) last."""
    return f"{kind}-{name}"


ADMIN, APPLIANCE, OWNER = 1, 2, 3


def refuse_unready(operation: str, found: FirstbootFact) -> None:
    """Raise Failed, before anything is touched, when a snippet must not or cannot be used: a new system without it would be another one."""
    why = f"{operation}: take the first-boot snippets."
    if found.unsafe:
        raise Failed(why, f"they would run as root in every new system, and others than root could have changed them: {'; '.join(found.unsafe)}")
    if found.problems:
        raise Failed(why, "; ".join(found.problems))


def runner(seconds: int, told: tuple[tuple[str, str], ...] = ()) -> str:
    """The runner's text; each snippet gets `seconds`, and `told` in its environment."""
    return "".join(f"{line}\n" for line in _runner(seconds, told))


def _runner(seconds: int, told: tuple[tuple[str, str], ...]) -> Iterator[str]:
    yield "#!/bin/sh"
    yield "# Written by dtcxen: runs what this system does once, at its first boot, and removes itself."
    yield f"here={DIRECTORY} log={LOG} limit={int(seconds)} grace={_GRACE_SECONDS}"
    yield "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root"
    yield "export PATH HOME"
    for name, value in told:
        if not re.fullmatch(r"DTCXEN_[A-Z_]+", name):
            raise ValueError(f"{name!r} is no name of ours")
        yield f"{name}={shlex.quote(value)}"
        yield f"export {name}"
    yield _PROGRAM


_PROGRAM = f"""\
umask 077

say() {{
    echo "`date '+%Y-%m-%d %H:%M:%S'` $*" >>"$log"
    echo "{NAME}: $*"
    if [ -c /dev/console ]; then echo "{NAME}: $*" 2>/dev/null >/dev/console; fi
}}

# A snippet is the first of its own process group where that can be, so that all it started ends with it.
begin() {{
    umask 022
    cd /root 2>/dev/null || cd /
    if command -v setsid >/dev/null 2>&1; then exec setsid "$1"; fi
    exec "$1"
}}

stop() {{
    kill -s TERM -- "-$1" 2>/dev/null || kill -s TERM "$1" 2>/dev/null
    left=$grace
    while [ "$left" -gt 0 ] && kill -0 "$1" 2>/dev/null; do sleep 1; left=$((left - 1)); done
    kill -s KILL -- "-$1" 2>/dev/null || kill -s KILL "$1" 2>/dev/null
}}

once() {{
    (begin "$1") </dev/null >>"$log" 2>&1 &
    child=$! left=$limit
    while kill -0 "$child" 2>/dev/null; do
        if [ "$left" -le 0 ]; then
            stop "$child"
            wait "$child" 2>/dev/null
            return 124
        fi
        sleep 1
        left=$((left - 1))
    done
    wait "$child" 2>/dev/null
}}

main() {{
    failed=0
    for program in "$here/{STARTED}"/*; do
        [ -f "$program" ] || continue
        say "${{program##*/}}: was interrupted, and is not run again"
        rm -f "$program"
        failed=$((failed + 1))
    done
    for program in "$here/{WAITING}"/*; do
        [ -f "$program" ] || continue
        name=${{program##*/}}
        mv "$program" "$here/{STARTED}/$name" || continue
        sync
        say "$name: begins"
        once "$here/{STARTED}/$name"
        code=$?
        case $code in
            0) say "$name: done" ;;
            124) say "$name: took longer than $limit seconds, and was ended" ;;
            *) say "$name: failed with code $code" ;;
        esac
        [ "$code" = 0 ] || failed=$((failed + 1))
        rm -f "$here/{STARTED}/$name"
    done
    rm -rf "$here"
    rm -f {UNIT} {WANTED}
    rm -f {" ".join(f"{top}[{RUNLEVELS}].d/S99{NAME}" for top in RC_DIRECTORIES)} {" ".join(f"{top}/{NAME}" for top in INIT_SCRIPTS)}
    if [ "$failed" = 0 ]; then say "all done"; else say "done, but for $failed: see $log"; fi
    [ "$failed" = 0 ]
}}

# Only where there is something to do; exit before the shell would read on in what is gone by then.
[ -d "$here/{WAITING}" ] || exit 0
main
exit"""


def unit(snippets: int, seconds: int) -> str:
    """The systemd unit. What a snippet started stays when it is over (KillMode); a boot that hangs here ends even if the runner does."""
    longest = snippets * (seconds + 2 * _GRACE_SECONDS) + 60
    return f"""\
# Written by dtcxen; the runner removes it when it is done.
[Unit]
Description=What this system does once, at its first boot
ConditionPathExists={DIRECTORY}/{RUN}
Wants=network-online.target
After=network-online.target

[Service]
Type=oneshot
RemainAfterExit=yes
KillMode=process
TimeoutStartSec={longest}
ExecStart=/bin/sh {DIRECTORY}/{RUN}

[Install]
WantedBy=multi-user.target
"""


def init_script() -> str:
    """The SysV script. It runs beside the boot, which there would wait for it: nobody could sign in meanwhile."""
    return f"""\
#!/bin/sh
# chkconfig: {RUNLEVELS} 99 01
# description: what this system does once, at its first boot
### BEGIN INIT INFO
# Provides:          {NAME}
# Required-Start:    $remote_fs $network $syslog
# Required-Stop:
# Default-Start:     {" ".join(RUNLEVELS)}
# Default-Stop:
# Short-Description: What this system does once, at its first boot
### END INIT INFO
# Written by dtcxen; the runner removes it when it is done.
run={DIRECTORY}/{RUN}
case "$1" in
start)
    [ -f "$run" ] || exit 0
    if command -v setsid >/dev/null 2>&1; then
        setsid /bin/sh "$run" </dev/null >/dev/null 2>&1 &
    else
        nohup /bin/sh "$run" </dev/null >/dev/null 2>&1 &
    fi
    ;;
stop|restart|force-reload|status) ;;
*)
    echo "Usage: $0 start" >&2
    exit 2
    ;;
esac
exit 0
"""
