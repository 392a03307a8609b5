"""The guest's network as steps: what guestnet makes for the system that the tree has; the one file here that knows guestnet.

A bundle that brings its own setup_network decides itself: then only name servers are written,
which it may replace, and the card's names that an image remembers go, since the MAC address is new.
"""

from __future__ import annotations

from dtcxen_soap.facts import TreeFact
from dtcxen_soap.guestnet import choose, resolvconf
from dtcxen_soap.guestnet.files import TreeFile
from dtcxen_soap.install.guest import Guest
from dtcxen_soap.plans import Step, TreeRemove, TreeSymlink, TreeWrite

_RULES = "etc/udev/rules.d"
_REMEMBERED = ("persistent-net.rules", "net_persistent-names.rules", "z45_persistent-net-generator.rules")
TEXTS = choose.TEXTS
GLOBS = (*choose.GLOBS, *(f"{_RULES}/*{ending}" for ending in _REMEMBERED), "etc/iftab")


def steps(guest: Guest, tree: TreeFact) -> tuple[Step, ...]:
    """Old files go, then new ones and links come. Failed when the tree has no network system that we know."""
    gone = (TreeRemove(why=f"Remove what would speak of another card: /{path}.", tree=guest.tree, path=path) for path in choose.stale(tree))
    files = (_write(guest, file) for file in choose.render_for(tree, guest.network, hostname=guest.hostname))
    links = (TreeSymlink(why="Switch the network on at boot.", tree=guest.tree, path=path, target=target) for path, target in choose.links_for(tree))
    return (*gone, *files, *links)


def steps_before_script(guest: Guest, tree: TreeFact) -> tuple[Step, ...]:
    """What a tree gets before its bundle's own setup_network runs."""
    remembered = sorted(path for path in tree.paths if path == "etc/iftab" or (path.startswith(f"{_RULES}/") and path.endswith(_REMEMBERED)))
    gone = tuple(TreeRemove(why=f"Remove the name of another card: /{path}.", tree=guest.tree, path=path) for path in remembered)
    dangling = tree.has(resolvconf.PATH) and resolvconf.PATH not in tree.texts
    return gone if dangling else (*gone, _write(guest, resolvconf.render(guest.network)))


def _write(guest: Guest, file: TreeFile) -> Step:
    return TreeWrite(why=f"Tell the system its network: /{file.path}.", tree=guest.tree, path=file.path, content=file.text, mode=file.mode)
