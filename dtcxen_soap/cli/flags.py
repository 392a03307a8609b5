"""The flags of dtc_reinstall_os and of dtc-xen_domU_gen_xen_conf, read strictly, and the operation that they mean here.

The original's parsers took the next flag for the value of one that had none, and stuck on any word
that they did not know, losing all after it. Here each of these is a fault that names the flag. What
the original's flags could choose per installation and is the node's choice here (kernel, volume
group...) is taken only where it says what the node's settings say anyway.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from dtcxen_soap import valuetypes as types
from dtcxen_soap.errors import ParameterFault, Refused
from dtcxen_soap.settings import Settings
from dtcxen_soap.valuetypes import ValueType
from dtcxen_soap.vps import VpsId

HVM, NETBSD = "xenhvm", "netbsd"


@dataclass(frozen=True)
class Flag:
    """A flag with a value, of this type; `of_node` tells what the node's settings have in its place, where it is no caller's choice."""

    name: str
    type: ValueType
    help: str
    of_node: Callable[[Settings, str], str] | None = None
    setting: str = ""
    many: bool = False


def _mac(settings: Settings, vps: str) -> str:
    """The address of a VPS from 01 to 99, which follows from its number."""
    return f"{settings.vps_mac_prefix}:{vps}"


def _of_setting(name: str) -> Callable[[Settings, str], str]:
    return lambda settings, vps: str(getattr(settings, name) or "")


_ANY = ValueType("Text", lambda s: types.Facets(pattern="[^\\x00-\\x1f\\x7f-\\x9f]+"), lambda s: "printable characters", lambda text, s: text)

OF_BOTH = (
    Flag("-vpsid", types.VPS, "the VPS"),
    Flag("-ram", types.RAM_SIZE, "RAM in MiB"),
    Flag("-nic", types.NICS, "an address, as IP[,NETMASK[,BROADCAST]] or IP/PREFIX; may be given several times", many=True),
    Flag("-os", types.OS_TYPE, f"what to install; {HVM} and {NETBSD}: only write the configuration"),
    Flag("-gw", types.GATEWAY, "gateway; the node's GATEWAY when not given"),
    Flag("-dns", types.DNS, "name servers, separated by commas; the node's DNS when not given"),
    Flag("--vps-fqdn", types.HOSTNAME, "full host name"),
    Flag("--disk-type", types.IMAGE_TYPE, "lvm or vbd: must be what the VPS has"),
    Flag("--vnc-pass", types.VNC_PASSWORD, f"password of the screen, for {HVM}"),
    Flag("--boot-iso", types.BOOT_FROM, f"one of the VPS's ISOs, for {HVM}; its disk when not given"),
    Flag("--virt-type", _ANY, "xen", lambda settings, vps: "xen"),
    Flag("--mac", _ANY, "the address that follows from the number", _mac, "vps_mac_prefix"),
    Flag("--vps-domain", _ANY, "as the node says", _of_setting("vps_domain"), "vps_domain"),
    Flag("--kernel", _ANY, "as the node says", _of_setting("KERNELPATH"), "KERNELPATH"),
    Flag("--kernel-release", _ANY, "as the node says", _of_setting("KERNEL_RELEASE"), "KERNEL_RELEASE"),
    Flag("--kmod-path", _ANY, "as the node says", _of_setting("KMOD_PATH"), "KMOD_PATH"),
    Flag("--initrd", _ANY, "as the node says", _of_setting("INITRDPATH"), "INITRDPATH"),
)
OF_REINSTALL = (*OF_BOTH, Flag("-pass", types.PASSWORD, "root's password inside; better in the environment, as PASSWORD"))
OF_CONFIG = (
    *OF_BOTH,
    Flag("--node-fqdn", types.HOSTNAME, "the node's name, which a configuration does not hold"),
    Flag("-path", _ANY, "as the node says", lambda settings, vps: f"{settings.provisioning_mount_point}/{vps}", "provisioning_mount_point"),
    Flag("--lvm-name", _ANY, "as the node says", _of_setting("provisioning_volgroup"), "provisioning_volgroup"),
    Flag("--xen-domu-hdd-dev-type", _ANY, "as the node says", _of_setting("XEN_DOMU_HDD_DEV_TYPE"), "XEN_DOMU_HDD_DEV_TYPE"),
    Flag("--xenu_extra_parm", _ANY, "as the node says", _of_setting("XENU_EXTRA_PARM"), "XENU_EXTRA_PARM"),
)
VERBOSE = "-v"


@dataclass(frozen=True)
class Asked:
    """An operation with its values under the wire's names; `label` tells the caller's own word for each of them."""

    operation: str
    values: tuple[tuple[str, str], ...]
    label: dict[str, str]
    image_type: str = ""
    verbose: bool = False


def read(command: str, words: Sequence[str], flags: tuple[Flag, ...], settings: Settings, password: str = "") -> Asked:
    """What the words ask for; Refused with every fault, each under the flag's name. `password` is that of the environment."""
    given, faults = _split(command, words, {flag.name: flag for flag in flags})
    if password and "-pass" not in given and any(flag.name == "-pass" for flag in flags):
        given["-pass"] = [password]
    faults += _of_the_node(command, given, flags, settings)
    if faults:
        raise Refused(*faults)
    one = {name: values[0] for name, values in given.items() if values}
    kind = one.get("-os", "")
    if kind in (HVM, NETBSD):
        made = _configuration(kind, given, one)
        _refuse_unused(command, one, made, flags, settings)
        return made
    if any(flag.name == "-pass" for flag in flags):
        return _installation(command, given, one, VERBOSE in words)
    raise Refused(ParameterFault(
        command, "-os", "InvalidParameter" if kind else "MissingParameter",
        f"{kind!r}: its configuration is written by its installation, and hand edits of it are kept" if kind else "missing parameter", f"{HVM} or {NETBSD}, else dtc_reinstall_os"))


def _split(command: str, words: Sequence[str], flags: dict[str, Flag]) -> tuple[dict[str, list[str]], list[ParameterFault]]:
    """The values of each flag. A flag is never another's value, and a word that belongs to none is a fault."""
    given: dict[str, list[str]] = {}
    faults: list[ParameterFault] = []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        flag = flags.get(word)
        if word == VERBOSE:
            continue
        if flag is None:
            faults.append(ParameterFault(command, word[:64], "UnknownParameter", _why_unknown(word), "one of " + " ".join(flags)))
        elif not rest or rest[0] in flags or rest[0] == VERBOSE:
            faults.append(ParameterFault(command, word, "MissingParameter", f"followed by {rest[0]}, not by its value" if rest else "its value is missing", "a value"))
        elif word in given and not flag.many:
            faults.append(ParameterFault(command, word, "RepeatedParameter", "given more than once", "one value"))
            rest.pop(0)
        else:
            given.setdefault(word, []).append(rest.pop(0))
    return given, faults


def _why_unknown(word: str) -> str:
    if word == "--short-circuit":
        return "an installation that leaves out making the file system is no installation"
    return "empty" if not word else "belongs to no flag" if not word.startswith("-") else "unknown flag"


def _of_the_node(command: str, given: dict[str, list[str]], flags: tuple[Flag, ...], settings: Settings) -> list[ParameterFault]:
    """Flags that would choose what is the node's choice, where they say something else than it does."""
    faults = []
    vps = _number(given.get("-vpsid", [""])[0])
    for flag in flags:
        value = given.get(flag.name, [""])[0]
        if flag.of_node is not None and value and value.lower() != flag.of_node(settings, vps).lower():
            said = flag.of_node(settings, vps)
            expected = f"{said!r}" if said else "nothing"
            where = f", as {flag.setting} says in dtc-xen.conf, where it can be changed" if flag.setting else ""
            faults.append(ParameterFault(command, flag.name, "InvalidParameter", f"{value[:64]!r}: not a choice of a single call", expected + where))
    return faults


def _number(text: str) -> str:
    try:
        return str(VpsId.parse(text))
    except ValueError:
        return text


def _installation(command: str, given: dict[str, list[str]], one: dict[str, str], verbose: bool) -> Asked:
    label = {"vps": "-vpsid", "osType": "-os", "ramSizeMib": "-ram", "password": "-pass", "nics": "-nic", "gateway": "-gw", "dns": "-dns", "hostname": "--vps-fqdn"}
    wrong = [name for name in ("--vnc-pass", "--boot-iso") if one.get(name)]
    if wrong:
        raise Refused(*(ParameterFault(command, name, "InvalidParameter", f"is for -os {HVM} only", f"-os {HVM}, or dtc_write_xenhvm_conf") for name in wrong))
    values = {**{wire: one[flag] for wire, flag in label.items() if flag in one}, **({"nics": "+".join(given["-nic"])} if "-nic" in given else {})}
    return Asked("reinstallOS", tuple(values.items()), label, one.get("--disk-type", ""), verbose)


def _configuration(kind: str, given: dict[str, list[str]], one: dict[str, str]) -> Asked:
    """Guests that install themselves: only their configuration is written, as by the original."""
    label = {"vps": "-vpsid", "ramSizeMib": "-ram", "addresses": "-nic"}
    values = {wire: one[flag] for wire, flag in label.items() if flag in one}
    if "-nic" in given:
        values["addresses"] = " ".join(re.split("[,/]", nic, maxsplit=1)[0] for nic in given["-nic"])
    order: tuple[str, ...]
    if kind == NETBSD:
        order = ("vps", "ramSizeMib", "kernel", "addresses")
        values["kernel"] = "normal"
    else:
        order = ("vps", "ramSizeMib", "addresses", "vncPassword", "boot")
        values |= {"vncPassword": one.get("--vnc-pass", "no_vnc"), "boot": one.get("--boot-iso", "hdd")}
        label |= {"vncPassword": "--vnc-pass", "boot": "--boot-iso"}
    ordered = tuple((name, values[name]) for name in order if name in values)
    return Asked("changeBSDkernel" if kind == NETBSD else "writeXenHVMconf", ordered, label, one.get("--disk-type", ""))


def _refuse_unused(command: str, one: dict[str, str], made: Asked, flags: tuple[Flag, ...], settings: Settings) -> None:
    """What such a guest has no use for must be well formed all the same: a wrong word there means that others are shifted."""
    faults = []
    for flag in flags:
        value = one.get(flag.name, "")
        if value and flag.name not in made.label.values():
            try:
                flag.type.parse(value, settings)
            except ValueError as error:
                faults.append(ParameterFault(command, flag.name, "InvalidParameter", str(error), flag.type.expected(settings)))
    if faults:
        raise Refused(*faults)
