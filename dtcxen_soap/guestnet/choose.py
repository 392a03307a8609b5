"""Which network system a guest tree has, the files that it needs, and what other systems must let go of.

One system gets the card, chosen by what is installed in the tree; a second one with files of its
own would fight over it, so theirs are removed, as are the old names of an image's cards. The finish
step looks for TEXTS and GLOBS, then: removes `stale`, writes `render_for`, makes `links_for`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from dtcxen_soap.errors import Failed
from dtcxen_soap.facts import TreeFact
from dtcxen_soap.guestnet import ifcfg, ifupdown, keyfile, netplan, networkd, resolvconf
from dtcxen_soap.guestnet.files import NOTE, TreeFile, lines
from dtcxen_soap.vps import GuestNetwork

# -- what the tree is asked -----------------------------------------------------------------------

_NETPLAN = ("usr/sbin/netplan", "sbin/netplan")
_IFUP = ("sbin/ifup", "usr/sbin/ifup")
_RED_HAT_IFUP = f"{ifcfg.DIRECTORY}/ifup"
_NETWORK_MANAGER = ("usr/sbin/NetworkManager", "usr/bin/NetworkManager", "sbin/NetworkManager")
_NETWORKD = ("lib/systemd/systemd-networkd", "usr/lib/systemd/systemd-networkd")
_SYSTEMD = ("lib/systemd/systemd", "usr/lib/systemd/systemd")
_UNITS = "etc/systemd/system"
_WANTED = f"{_UNITS}/multi-user.target.wants"
_NETWORKD_ENABLED = f"{_WANTED}/systemd-networkd.service"
_NETWORK_MANAGER_ENABLED = f"{_WANTED}/NetworkManager.service"
_RESOLVED_ENABLED = (
    f"{_WANTED}/systemd-resolved.service", f"{_UNITS}/sysinit.target.wants/systemd-resolved.service", f"{_UNITS}/dbus-org.freedesktop.resolve1.service")
_NETWORKD_UNIT = "/lib/systemd/system/systemd-networkd.service"
_SOURCED = "etc/network/interfaces.d"
_CLOUD = "etc/cloud/cloud.cfg.d"
_CLOUD_FILE = f"{_CLOUD}/99-dtcxen-network.cfg"
_NAMES_GENERATOR = "udev/rules.d/75-persistent-net-generator.rules"

_CARD_NAMES = (
    "etc/udev/rules.d/70-persistent-net.rules", "etc/udev/rules.d/z25_persistent-net.rules", "etc/udev/rules.d/z45_persistent-net-generator.rules",
    "etc/udev/rules.d/30-net_persistent-names.rules", "etc/udev/rules.d/70-net.rules", "etc/iftab", "etc/systemd/network/70-persistent-net.link")

TEXTS = (ifcfg.GENERAL, resolvconf.PATH)
GLOBS = (
    *_NETPLAN, netplan.DIRECTORY, f"{netplan.DIRECTORY}/*.yaml", f"{netplan.DIRECTORY}/*.yml",
    *_IFUP, "etc/network", ifupdown.PATH, _SOURCED, f"{_SOURCED}/*",
    ifcfg.DIRECTORY, _RED_HAT_IFUP, *(f"{ifcfg.DIRECTORY}/{kind}-*" for kind in ("ifcfg", "route", "route6", "rule", "rule6")),
    *_NETWORK_MANAGER, f"{keyfile.DIRECTORY}/*", _NETWORK_MANAGER_ENABLED,
    *_NETWORKD, *_SYSTEMD, f"{networkd.DIRECTORY}/*.network", _NETWORKD_ENABLED, *_RESOLVED_ENABLED,
    _CLOUD, f"lib/{_NAMES_GENERATOR}", *_CARD_NAMES)

# -- the systems, the first that fits is chosen ---------------------------------------------------


@dataclass(frozen=True)
class System:
    """A network system: whether a tree has it, and its files. `tells_resolved`: it hands name servers to systemd-resolved."""

    name: str
    fits: Callable[[TreeFact], bool]
    render: Callable[[GuestNetwork, TreeFact, str], tuple[TreeFile, ...]]
    tells_resolved: bool


def _has_any(tree: TreeFact, paths: tuple[str, ...]) -> bool:
    return any(tree.has(path) for path in paths)


def _fits_ifcfg(tree: TreeFact) -> bool:
    """Newer systems keep the directory but read it no more: there NetworkManager's keyfile is right."""
    return tree.has(_RED_HAT_IFUP) or (tree.has(ifcfg.DIRECTORY) and not _has_any(tree, _NETWORK_MANAGER + _NETWORKD))


def _fits_keyfile(tree: TreeFact) -> bool:
    """NetworkManager, unless it is switched off where systemd-networkd is switched on."""
    return _has_any(tree, _NETWORK_MANAGER) and (tree.has(_NETWORK_MANAGER_ENABLED) or not tree.has(_NETWORKD_ENABLED))


def _netplan(network: GuestNetwork, tree: TreeFact, hostname: str) -> tuple[TreeFile, ...]:
    return netplan.render(network, "networkd" if _has_any(tree, _NETWORKD) or not _has_any(tree, _NETWORK_MANAGER) else "NetworkManager")


SYSTEMS = (
    System("netplan", lambda tree: tree.has(netplan.DIRECTORY) and _has_any(tree, _NETPLAN), _netplan, True),
    System("ifcfg", _fits_ifcfg, lambda network, tree, hostname: ifcfg.render(network, tree.texts.get(ifcfg.GENERAL, ""), hostname), False),
    System("ifupdown", lambda tree: tree.has("etc/network") and _has_any(tree, _IFUP),
           lambda network, tree, hostname: ifupdown.render(network, tree.has(_SOURCED)), False),
    System("keyfile", _fits_keyfile, lambda network, tree, hostname: keyfile.render(network), True),
    System("networkd", lambda tree: _has_any(tree, _NETWORKD), lambda network, tree, hostname: networkd.render(network), True),
)


def system_of(tree: TreeFact) -> System:
    """The network system that gets the card. Failed when the tree has none that we know."""
    for system in SYSTEMS:
        if system.fits(tree):
            return system
    known = ", ".join(system.name for system in SYSTEMS)
    raise Failed("Write the guest's network files.", f"the system has none of {known}: its bundle needs a setup_network script")


# -- what the finish step does --------------------------------------------------------------------


def render_for(tree: TreeFact, network: GuestNetwork, *, hostname: str = "") -> tuple[TreeFile, ...]:
    """Every file that gives the tree its network, card name and name servers included. Failed as system_of.

    `hostname` goes into etc/sysconfig/network of the Red Hat family, which nobody else may write then.
    """
    system = system_of(tree)
    files = [*system.render(network, tree, hostname), *_quiet(tree, system)]
    if _has_any(tree, _SYSTEMD):
        files.append(networkd.link(network))
    if not _leave_to_resolved(tree, system):
        files.append(resolvconf.render(network))
    return tuple(files)


def stale(tree: TreeFact) -> tuple[str, ...]:
    """Paths to remove before anything is written: other systems' files on cards, and card names that an image kept."""
    system = system_of(tree)
    gone = {path for path in tree.paths if _is_stale(path, system)} | {path for path in _CARD_NAMES if tree.has(path)}
    if not _leave_to_resolved(tree, system) and tree.has(resolvconf.PATH):
        gone.add(resolvconf.PATH)
    return tuple(sorted(gone))


def links_for(tree: TreeFact) -> tuple[tuple[str, str], ...]:
    """Links to make, as (path, target): systemd-networkd is switched on where it alone can bring up the card."""
    if system_of(tree).name != "networkd" or tree.has(_NETWORKD_ENABLED):
        return ()
    return ((_NETWORKD_ENABLED, _NETWORKD_UNIT),)


def _is_stale(path: str, system: System) -> bool:
    """Whether a file of the tree would speak of the card beside ours, or instead of ours."""
    directory, _, name = path.rpartition("/")
    if directory == ifcfg.DIRECTORY:
        return name.startswith(("ifcfg-", "route-", "route6-", "rule-", "rule6-")) and name != "ifcfg-lo"
    if directory == networkd.DIRECTORY and name.endswith(".network"):
        return system.name != "networkd" or path < networkd.PATH
    if directory == netplan.DIRECTORY:
        return name.endswith((".yaml", ".yml"))
    return directory in (keyfile.DIRECTORY, _SOURCED)


def _quiet(tree: TreeFact, system: System) -> Iterator[TreeFile]:
    """Files that make others keep their hands off the card."""
    if system.name != "ifupdown" and tree.has(ifupdown.PATH):
        yield ifupdown.loopback_only(tree.has(_SOURCED))
    if tree.has(_CLOUD):
        yield TreeFile(_CLOUD_FILE, lines(NOTE, "network:", "  config: disabled"))
    if tree.has(f"lib/{_NAMES_GENERATOR}"):
        yield TreeFile(f"etc/{_NAMES_GENERATOR}", lines(NOTE, "# Empty, so that udev writes no card names."))


def _leave_to_resolved(tree: TreeFact, system: System) -> bool:
    """Whether resolv.conf is systemd-resolved's link, which leads to nothing now, and the system tells it the servers."""
    dangling = tree.has(resolvconf.PATH) and resolvconf.PATH not in tree.texts
    return dangling and system.tells_resolved and _has_any(tree, _RESOLVED_ENABLED)
