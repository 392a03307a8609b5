"""What the system runs once, at its first boot: snippets, our runner, and whatever its init needs to start that.

systemd gets a unit; older systems get a SysV script with links in every runlevel that has a network. A tree that
has systemd beside an inittab may start by either, so it gets both: under one name, of which systemd takes the unit.
Sources: systemd.service(5), the headers of init scripts that LSB and chkconfig(8) read.
"""

from __future__ import annotations

from dtcxen_soap import firstboot
from dtcxen_soap.errors import Failed
from dtcxen_soap.facts import TreeFact
from dtcxen_soap.firstboot import ANSWERS, DIRECTORY, INIT_SCRIPTS, NAME, PASSWORD_FILE, RC_DIRECTORIES, RUN, RUNLEVELS, STARTED, UNIT, WAITING, WANTED
from dtcxen_soap.install.guest import Guest
from dtcxen_soap.plans import Content, Step, TreeDirectory, TreeRemove, TreeSymlink, TreeWrite

_SYSTEMD = ("usr/lib/systemd/systemd", "lib/systemd/systemd")
_INITTAB = "etc/inittab"
_RUNLEVEL_DIRECTORIES = tuple(tuple(f"{top}{level}.d".lstrip("/") for level in RUNLEVELS) for top in RC_DIRECTORIES)
_SCRIPT_DIRECTORIES = tuple(path.lstrip("/") for path in INIT_SCRIPTS)
_HOME = DIRECTORY.lstrip("/")
_PRIVATE, _PROGRAM = 0o600, 0o700
_READ = tuple(f"{_HOME}/{name}" for name in (PASSWORD_FILE.rpartition("/")[2], ANSWERS))
TEXTS = ()
GLOBS = (
    *_SYSTEMD, _INITTAB, *_SCRIPT_DIRECTORIES, *(path for paths in _RUNLEVEL_DIRECTORIES for path in paths),
    *_READ, f"{_HOME}/{RUN}", f"{_HOME}/{WAITING}/*", f"{_HOME}/{STARTED}/*")


def steps(guest: Guest, tree: TreeFact) -> tuple[Step, ...]:
    """Nothing when nothing is to be run. Failed when the tree has no init that we know how to tell."""
    stale = (path for path in sorted(tree.paths) if path.startswith(f"{_HOME}/"))
    gone = tuple(TreeRemove(why=f"Remove what the image was to do at its own first boot: /{path}.", tree=guest.tree, path=path) for path in stale)
    if not guest.snippets:
        return gone
    return (*gone, *_content(guest), *_started(guest, tree))


def _content(guest: Guest) -> tuple[Step, ...]:
    """The runner and what it runs, all of it root's alone: snippets may hold secrets."""
    def write(why: str, path: str, content: Content, mode: int) -> Step:
        return TreeWrite(why=why, tree=guest.tree, path=f"{_HOME}/{path}", content=content, mode=mode)

    places = tuple(TreeDirectory(why="Have a place for what is run once, for root alone.", tree=guest.tree, path=path, mode=0o700)
                   for path in (_HOME, f"{_HOME}/{WAITING}", f"{_HOME}/{STARTED}"))
    snippets = (write(f"Have the first boot run {each.name}.", f"{WAITING}/{each.name}", each.content, _PROGRAM) for each in guest.snippets)
    private = (write(f"Have what it reads, for root alone: {each.name}.", each.name, each.content, _PRIVATE) for each in guest.private)
    told = (("DTCXEN_VPS", str(guest.vps.id)), ("DTCXEN_VPS_NAME", guest.vps.id.name), ("DTCXEN_HOSTNAME", guest.hostname), ("DTCXEN_OS_TYPE", guest.os_type))
    runner = write("Have what runs them, each once and for so long only.", RUN, firstboot.runner(guest.snippet_seconds, told), _PROGRAM)
    return (*places, *snippets, *private, runner)


def _started(guest: Guest, tree: TreeFact) -> tuple[Step, ...]:
    """What has init start the runner."""
    systemd = any(tree.has(path) for path in _SYSTEMD)
    made = _unit(guest) if systemd else ()
    if not systemd or tree.has(_INITTAB):
        made += _init_script(guest, tree)
    if not made:
        raise Failed("Have the first boot run its snippets.", "the system in the tree has neither systemd nor runlevels: nothing would start them")
    return made


def _unit(guest: Guest) -> tuple[Step, ...]:
    text = firstboot.unit(len(guest.snippets), guest.snippet_seconds)
    return (TreeWrite(why="Tell systemd of the first boot.", tree=guest.tree, path=UNIT.lstrip("/"), content=text),
            TreeSymlink(why="Switch it on.", tree=guest.tree, path=WANTED.lstrip("/"), target=UNIT))


def _init_script(guest: Guest, tree: TreeFact) -> tuple[Step, ...]:
    """The script and its links; nothing where there are no runlevels, or nowhere for scripts."""
    home = next((path for path in reversed(_SCRIPT_DIRECTORIES) if tree.has(path)), "")
    levels = next((there for paths in _RUNLEVEL_DIRECTORIES if (there := [path for path in paths if tree.has(path)])), [])
    if not home or not levels:
        return ()
    script = TreeWrite(why="Tell init of the first boot.", tree=guest.tree, path=f"{home}/{NAME}", content=firstboot.init_script(), mode=0o755)
    links = (TreeSymlink(why=f"Switch it on in /{path}.", tree=guest.tree, path=f"{path}/S99{NAME}", target=f"/{home}/{NAME}") for path in levels)
    return (script, *links)
