"""dtc-xen.conf as frozen Settings: one table of name, old names, parser, default and help.

The file is the original's: KEY=value with quotes and comments as a shell reads them. Nothing in
it is executed or expanded. Names match without regard to case. Source of the old names: the
dtc-xen 0.5 configuration file and its two readers.
"""

from __future__ import annotations

import dataclasses
import difflib
import ipaddress
import re
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from dtcxen_soap.errors import Misconfigured
from dtcxen_soap.vps import HIGHEST_VPS_NUMBER, BootMode, ImageType, IpAddress, IpNetwork, Mib, Secret

Parser = Callable[[str], Any]


def _path(text: str) -> str:
    if not text.startswith("/") or "\0" in text or "/../" in text + "/":
        raise ValueError("expected an absolute path")
    return text.rstrip("/") or "/"


def _optional(parser: Parser) -> Parser:
    def parse(text: str) -> Any:
        return parser(text) if text else None
    parse.__doc__ = parser.__doc__
    return parse


def _text(pattern: str, expected: str) -> Parser:
    def parse(text: str) -> str:
        if not re.fullmatch(pattern, text, re.ASCII):
            raise ValueError(f"expected {expected}")
        return text
    return parse


def _number(lowest: int, highest: int) -> Parser:
    def parse(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,12}", text) or not lowest <= int(text) <= highest:
            raise ValueError(f"expected a whole number from {lowest} to {highest}")
        return int(text)
    return parse


def _mib(lowest: int, highest: int) -> Parser:
    number = _number(lowest, highest)
    return lambda text: Mib(number(text))


def _yes_no(text: str) -> bool:
    words = {"yes": True, "true": True, "1": True, "on": True, "no": False, "false": False, "0": False, "off": False}
    if text.lower() not in words:
        raise ValueError("expected yes or no")
    return words[text.lower()]


def _choice(*words: str) -> Parser:
    def parse(text: str) -> str:
        if text not in words:
            raise ValueError(f"expected one of {', '.join(words)}")
        return text
    return parse


def _image_type(text: str) -> ImageType:
    return ImageType(_choice("lvm", "vbd")(text))


def _boot_mode(text: str) -> BootMode | None:
    words = _choice("auto", "pvh-grub", "pv-grub", "direct", "pygrub")
    return None if words(text) == "auto" else BootMode(text)


def _words(text: str) -> tuple[str, ...]:
    return tuple(re.split(r"[\s,]+", text.strip())) if text.strip() else ()


def _packages(text: str) -> tuple[str, ...]:
    names = _words(text)
    for name in names:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9.+_:-]*", name):
            raise ValueError(f"{name!r} is not a package name, expected names separated by blanks or commas")
    return names


def _addresses(text: str) -> tuple[IpAddress, ...]:
    try:
        return tuple(ipaddress.ip_address(word) for word in _words(text))
    except ValueError as error:
        raise ValueError(f"{error}, expected IP addresses separated by blanks or commas") from None


def _networks(text: str) -> tuple[IpNetwork, ...]:
    try:
        return tuple(ipaddress.ip_network(word) for word in _words(text))
    except ValueError as error:
        raise ValueError(f"{error}, expected networks as 192.0.2.0/24 separated by blanks or commas") from None


def _ipv4(text: str) -> ipaddress.IPv4Address:
    try:
        return ipaddress.IPv4Address(text)
    except ValueError:
        raise ValueError("expected an IPv4 address") from None


_NAME = _text(r"[A-Za-z_][A-Za-z0-9_.-]{0,31}", "a user name")
_HOST = _text(r"[A-Za-z0-9.:_-]{0,255}", "an address or host name")
_DEVICE = _text(r"[A-Za-z0-9._-]{0,64}", "letters, digits and ._-")
_URL = _text(r"((https?|ftp|file|copy)://[\x21-\x7e]{1,500})?", "a URL")


def _setting(parser: Parser, default: str, help: str, *old: str, group: str = "") -> Any:
    return field(metadata={"parser": parser, "default": default, "help": help, "old": old, "group": group})


@dataclass(frozen=True)
class Settings:
    """Every choice that a node's admin can make. Sizes are MiB, times are in the unit of the name."""

    listen_address: str = _setting(_HOST, "0.0.0.0", "Address that the SOAP service listens on.", "soap_server_host", group="The service")
    listen_port: int = _setting(_number(0, 65535), "8089", "Port of the SOAP service; the panel knows 8089 only. 0: any free port.", "soap_server_port")
    admin_user: str = _setting(_NAME, "dtc-xen", "The SOAP user that the panel signs in as; may do everything.", "soap_server_dtcxen_user")
    monitor_user: str = _setting(_optional(_NAME), "", "A SOAP user that may read everything and change nothing.")
    htpasswd_file: str = _setting(_path, "/etc/dtc-xen/htpasswd", "SOAP users and their password hashes.")
    tls_certificate: str = _setting(_path, "/etc/dtc-xen/dtc-xen.cert.cert", "Certificate (chain) of the service, PEM.")
    tls_key: str = _setting(_path, "/etc/dtc-xen/privkey.pem", "Private key of the service, PEM.")
    cert_passphrase: Secret = _setting(Secret, "", "Passphrase of the private key, if it has one.", "soap_server_pass_phrase")
    tls_min_version: str = _setting(_choice("1.0", "1.1", "1.2", "1.3"), "1.2", "Oldest TLS version that is spoken.")
    max_body_kib: int = _setting(_number(16, 65536), "1024", "Longest request body in KiB; longer ones get 413 before they are read.")
    auth_failure_delay_ms: int = _setting(
        _number(0, 60000), "1000", "Delay of the answer to wrong credentials; doubled with each failure in a row of that peer or user, up to 32 times.")
    worker_threads: int = _setting(_number(1, 64), "4", "How many jobs run side by side; more wait.")
    log_level: str = _setting(_choice("debug", "info", "warning", "error"), "info", "Least important messages that are logged.")
    soap_server_allowed_ip: tuple[IpNetwork, ...] = _setting(_networks, "", "Addresses that the original's firewall script let in; read, reported, not enforced here.")

    state_dir: str = _setting(_path, "/var/lib/dtc-xen", "Where the journal, the jobs' logs and the daemon's own files live.", group="Directories")
    provisioning_mount_point: str = _setting(
        _path, "/var/lib/dtc-xen/mnt", "Mount points of trees, and the image files of file-backed disks.", "soap_server_mount_point", "VPS_MOUNTPOINT")
    ttyssh_home: str = _setting(_path, "/var/lib/dtc-xen/ttyssh_home", "Homes of the console users; each holds the ISOs of its VPS.")
    xen_config_dir: str = _setting(_path, "/etc/xen", "Where domU configurations (xenNN) and auto/ live.")
    config_dir: str = _setting(_path, "/etc/dtc-xen", "Where motd, bashrc, authorized_keys2, hooks/, firstboot.d/ and os.d/ (more OS types) live.")
    os_dir: str = _setting(_path, "/usr/share/dtc-xen-os", "Bundles: one directory per installable OS.")
    app_dir: str = _setting(_path, "/usr/share/dtc-xen-app", "Appliances: one directory each.")

    toolstack: str = _setting(_choice("auto", "xl", "none"), "auto", "How domUs are run: xl, none, or auto (xl where the machine is a Xen dom0).", group="Xen")
    max_vps_id: int = _setting(_number(1, HIGHEST_VPS_NUMBER), "999", "Highest VPS number that is accepted.")
    vps_mac_prefix: str = _setting(
        _text(r"[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){4}", "five bytes of a MAC address, as 00:16:3e:10:10"), "00:16:3e:10:10",
        "First five bytes of the MAC address of VPS 01 to 99; the number is the last.")
    xen_bridge: str = _setting(_text(r"[A-Za-z0-9._-]{0,15}", "a bridge's name"), "", "Bridge that vifs join; empty: Xen's own default.")
    vps_ram_min_mib: Mib = _setting(_mib(1, 1 << 24), "32", "Smallest RAM of a VPS.")
    vps_ram_max_mib: Mib = _setting(_mib(1, 1 << 24), "1048576", "Largest RAM of a VPS.")
    boot_mode: BootMode | None = _setting(
        _boot_mode, "auto", "How new systems boot: pvh-grub, pv-grub, direct (the node's kernel), pygrub; auto: the first of these that the node can.")
    boot_watch_seconds: int = _setting(_number(10, 3600), "300", "How long a system that an installation started may take until it asks for a login.")
    vnc_listen: str = _setting(_HOST, "127.0.0.1", "Address that screens of HVM guests are served at.")
    pygrub_user: str = _setting(_NAME, "nobody", "User that pygrub runs as. It may read the root disks of the VPSes that boot so: one of its own is better.")
    rescue_kernel: str = _setting(_path, "/var/lib/dtc-xen/rescue/vmlinuz", "Kernel of the node's rescue system.")
    rescue_initrd: str = _setting(_path, "/var/lib/dtc-xen/rescue/initrd.img", "Initial RAM disk of the node's rescue system, which holds all of it.")
    KERNEL_RELEASE: str = _setting(_DEVICE, "", "Release of the kernel for direct boot; empty: that of the running kernel.")
    KERNELPATH: str = _setting(_optional(_path), "", "Kernel for direct boot; empty: /boot/vmlinuz-KERNEL_RELEASE.")
    INITRDPATH: str = _setting(_optional(_path), "", "Initial RAM disk for direct boot; empty: /boot/initrd.img-KERNEL_RELEASE where it is there.")
    KMOD_PATH: str = _setting(_optional(_path), "", "Modules of that kernel, copied into each VPS; empty: /lib/modules/KERNEL_RELEASE.")
    bsd_kernel_path: str = _setting(_optional(_path), "", "NetBSD kernel for normal boot.")
    bsd_install_kernel_path: str = _setting(_optional(_path), "", "NetBSD kernel for installation.")
    XENU_EXTRA_PARM: str = _setting(_text(r"[\x20-\x7e]{0,500}", "printable ASCII"), "", "More words for the kernel command line of every VPS.")
    XEN_DOMU_HDD_DEV_TYPE: str = _setting(_choice("xvd", "sda"), "xvd", "Device names inside the guest; sda is read for old nodes and treated as xvd.")

    default_image_type: ImageType = _setting(_image_type, "lvm", "Kind of disk when the caller names none: lvm or vbd.", group="Disks")
    provisioning_volgroup: str = _setting(_DEVICE, "", "Volume group of VPS disks; empty: the node's only one.", "soap_server_lvmname")
    thin_pool: str = _setting(_DEVICE, "", "Thin pool of that volume group for VPS disks; empty: its only one, where it has one; none: ordinary volumes.")
    wipe_disks: bool = _setting(_yes_no, "yes", "yes: an ordinary volume is overwritten with zeros before it is removed. New ones are zeroed in any case.")
    vps_disk_min_mib: Mib = _setting(_mib(1, 1 << 30), "64", "Smallest root disk.")
    vps_disk_max_mib: Mib = _setting(_mib(1, 1 << 30), "16777216", "Largest root disk.")
    vps_swap_max_mib: Mib = _setting(_mib(0, 1 << 30), "262144", "Largest swap disk.")
    overcommit: bool = _setting(_yes_no, "no", "yes: file-backed disks are sparse, and their sum may exceed the file system.")
    root_filesystem: str = _setting(_choice("ext3", "ext4", "xfs", "btrfs"), "ext4", "File system of new root disks.")
    keep_old_disk_hours: int = _setting(_number(0, 24 * 365), "24", "How long the system before a reinstallation, or a disk that setupLVMDisks set aside, is kept; 0: not at all.")
    reinstall_in_place: str = _setting(_choice("allow", "refuse"), "allow", "Without room for a second disk: allow destroys the old system first, refuse refuses.")

    image_cache: str = _setting(_path, "/var/lib/dtc-xen/images", "Golden images: what an installation made once, and later ones of the same system clone.", group="Installations")
    image_cache_days: int = _setting(_number(1, 3650), "7", "After so many days the next installation makes the image anew, from what the mirror has then.")
    image_cache_mib: Mib = _setting(_mib(0, 1 << 30), "16384", "What all images may take; those go that were not used for longest. 0: no images, every installation from scratch.")
    image_build_mib: Mib = _setting(_mib(256, 1 << 24), "4096", "Space for a system while its image is made; the finished image is as small as its content.")
    install_timeout_minutes: int = _setting(_number(1, 1440), "120", "Longest time that one step of an installation, or the check of a file system, may take.")
    custom_postinstall_script: str = _setting(_optional(_path), "", "Program run at the end of every installation, as in the original.")

    debian_release: str = _setting(_DEVICE, "", "Debian release to install; empty: that of the node.", group="Debian installs")
    debian_repo: str = _setting(_URL, "", "Mirror to install from; empty: the node's own apt sources.", "DEBIAN_REPOS")
    debian_components: tuple[str, ...] = _setting(_packages, "main", "Components of debian_repo.")
    debian_keyring: str = _setting(_optional(_path), "", "Keyring that must have signed the release; empty: Debian's own archive keyring.")
    debian_added_debs: tuple[str, ...] = _setting(_packages, "openssh-server", "Packages installed beside the base system.")
    dtc_panel_source: str = _setting(
        _text(r"[\x20-\x7e]{0,500}", "a line of sources.list"), "",
        "Where OS type debian-dtc gets the panel: a line of sources.list with signed-by, a keyring of the node; empty: there is no debian-dtc.")
    dtc_panel_packages: tuple[str, ...] = _setting(_packages, "dtc-toaster", "Packages that make a Debian the panel.")
    centos_added_rpms: tuple[str, ...] = _setting(_packages, "", "Packages installed beside those of os.d/centos.toml.")

    GATEWAY: tuple[IpAddress, ...] = _setting(_addresses, "", "Gateway of VPSes when the caller names none; at most one per IP version.", group="Guest network")
    NETMASK: ipaddress.IPv4Address | None = _setting(_optional(_ipv4), "", "Netmask of addresses that come without one.")
    BROADCAST: ipaddress.IPv4Address | None = _setting(_optional(_ipv4), "", "Broadcast address of addresses that come without a netmask.")
    DNS: tuple[IpAddress, ...] = _setting(_addresses, "", "Name servers of VPSes when the caller names none.")
    node_networks: tuple[IpNetwork, ...] = _setting(_networks, "", "Networks that every VPS address must lie in; empty: any.")
    onlink_gateway: bool = _setting(_yes_no, "no", "yes: a gateway may lie outside the VPS's networks and is reached on the link.")
    vps_domain: str = _setting(_text(r"[A-Za-z0-9.-]{0,200}", "a domain name"), "", "Domain of host names xenNN; empty: the node's host name.")

    migrate_key: str = _setting(_path, "/etc/dtc-xen/migrate_key", "SSH key (private, without a passphrase) with which VPSes move to other nodes.", group="Moves to other nodes")
    migrate_known_hosts: str = _setting(
        _path, "/etc/dtc-xen/migrate_known_hosts", "The nodes that VPSes may move to, with their host keys, as ssh reads them; no others are spoken to.")

    hook_timeout_seconds: int = _setting(_number(1, 86400), "300", "Longest time that one hook may take.", group="Hooks, ISOs, accounts")
    firstboot_timeout_seconds: int = _setting(_number(1, 86400), "900", "Longest time that one first-boot snippet may take inside a new VPS.")
    iso_library: str = _setting(_path, "/var/lib/dtc-xen/isos", "The admin's ISOs, which every VPS may boot: files that root owns and nobody else may change.")
    iso_quota_mib: Mib = _setting(_mib(0, 1 << 30), "0", "Space for the ISOs that one owner uploads, kept by the file system where it has quotas; 0: no limit.")
    manage_accounts: bool = _setting(_yes_no, "yes", "no: no system users are made for VPS owners.")
    console_shell: str = _setting(_path, "/usr/lib/dtcxen-soap/console", "Login shell of the console users: the program that opens a VPS's console, and nothing else.")
    iso_upload: bool = _setting(_yes_no, "yes", "no: owners get no account (xenNN-iso, SFTP only) to upload ISOs with.")
    VZ_NO_MOUNT: str = _setting(_text(r".{0,200}", "text"), "", "OpenVZ is not supported; read and ignored.")

    @property
    def journal_path(self) -> str:
        return f"{self.state_dir}/journal.sqlite"

    @property
    def job_log_dir(self) -> str:
        return f"{self.state_dir}/jobs"

    @property
    def os_types_dir(self) -> str:
        """Descriptions of OS types."""
        return f"{self.config_dir}/os.d"

    @property
    def os_store_dir(self) -> str:
        """What installers of described OS types keep: fetched bundles, dnf's configurations. Root's alone."""
        return f"{self.state_dir}/os"

    @property
    def hooks_dir(self) -> str:
        return f"{self.config_dir}/hooks"

    @property
    def firstboot_dir(self) -> str:
        return f"{self.config_dir}/firstboot.d"


@dataclass(frozen=True)
class Row:
    """One row of the table: how a setting is written, read and explained."""

    name: str
    old: tuple[str, ...]
    parser: Parser
    default: str
    help: str
    group: str

    @property
    def secret(self) -> bool:
        """Whether its value must not be shown."""
        return self.parser is Secret


def _rows() -> Iterator[Row]:
    group = ""
    for item in dataclasses.fields(Settings):
        meta = item.metadata
        group = meta["group"] or group
        yield Row(item.name, meta["old"], meta["parser"], meta["default"], meta["help"], group)


TABLE: tuple[Row, ...] = tuple(_rows())
_BY_NAME = {name.lower(): row for row in TABLE for name in (row.name, *row.old)}


@dataclass(frozen=True)
class Loaded:
    """Settings, where each value came from ("default" or "file:line"), and what deserves a warning."""

    settings: Settings
    sources: dict[str, str]
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Examined:
    """A configuration file, read as far as it can be. `settings` is None when there are problems.

    `texts` holds every effective value as it is written (a bad one too), `sources` where it came from
    ("default" or "file:line"), by the setting's name.
    """

    settings: Settings | None
    texts: dict[str, str]
    sources: dict[str, str]
    problems: tuple[str, ...]
    warnings: tuple[str, ...]


def _assignment(line: str) -> tuple[str, str]:
    """Key and value of a line as a shell would take it; ValueError says why it would not."""
    key, equals, value = line.removeprefix("export ").partition("=")
    if not equals or not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*\s*", key):
        raise ValueError("not KEY=value")
    try:
        return key.strip(), " ".join(shlex.split(value, comments=True))
    except ValueError as error:
        raise ValueError(f"{key.strip()}: {error}") from None


def _given(text: str, where: str, problems: list[str], warnings: list[str]) -> dict[str, tuple[str, str]]:
    """Place and value of each setting that the file names."""
    given: dict[str, tuple[str, str]] = {}
    for number, line in enumerate(text.splitlines(), 1):
        place = f"{where}:{number}"
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        try:
            key, value = _assignment(stripped)
        except ValueError as error:
            problems.append(f"{place}: {error}")
            continue
        row = _BY_NAME.get(key.lower())
        if row is None:
            near = difflib.get_close_matches(key.lower(), _BY_NAME, 1, 0.6)
            hint = f"; did you mean {_BY_NAME[near[0]].name}?" if near else ""
            warnings.append(f"{place}: unknown setting {key}{hint}")
            continue
        if row.name in given:
            warnings.append(f"{place}: {row.name} is set again; the last one counts")
        given[row.name] = (place, value)
    return given


def examine(text: str, where: str = "dtc-xen.conf") -> Examined:
    """Read a configuration file and list every problem in it, each with file:line; raises nothing."""
    problems: list[str] = []
    warnings: list[str] = []
    given = _given(text, where, problems, warnings)
    values: dict[str, Any] = {}
    found = {row.name: given.get(row.name, ("default", row.default)) for row in TABLE}
    for row in TABLE:
        place, value = found[row.name]
        try:
            values[row.name] = row.parser(value)
        except ValueError as error:
            shown = "" if row.secret else f" {value!r}"
            problems.append(f"{place}: {row.name}:{shown} is not valid, {error}")
    sources = {name: place for name, (place, _) in found.items()}
    settings = Settings(**values) if len(values) == len(TABLE) else None
    if settings:
        problems += _contradictions(settings, sources)
    texts = {row.name: "(redacted)" if row.secret and found[row.name][1] else found[row.name][1] for row in TABLE}
    return Examined(None if problems else settings, texts, sources, tuple(problems), tuple(warnings))


def load(text: str, where: str = "dtc-xen.conf") -> Loaded:
    """Parse a configuration file; raise Misconfigured with every problem, each with file:line."""
    found = examine(text, where)
    if found.settings is None:
        raise Misconfigured(*found.problems)
    return Loaded(found.settings, found.sources, found.warnings)


def _contradictions(settings: Settings, sources: dict[str, str]) -> Iterator[str]:
    """What single values cannot show."""
    for low, high in (("vps_ram_min_mib", "vps_ram_max_mib"), ("vps_disk_min_mib", "vps_disk_max_mib")):
        if getattr(settings, low) > getattr(settings, high):
            yield f"{sources[low]}: {low}: larger than {high}"
    versions = [gateway.version for gateway in settings.GATEWAY]
    if len(versions) != len(set(versions)):
        yield f"{sources['GATEWAY']}: GATEWAY: more than one gateway of one IP version"
    if settings.monitor_user and settings.monitor_user == settings.admin_user:
        yield f"{sources['monitor_user']}: monitor_user: the same as admin_user"


def defaults() -> Settings:
    """Settings of an empty file."""
    return load("").settings


def render(changed: dict[str, str] | None = None) -> str:
    """The commented file: every setting with its help; those in `changed` set, the others shown as comments."""
    changed = changed or {}
    lines = ["# dtc-xen.conf: settings of the DTC-Xen node daemon.", "# KEY=value; a shell's quotes and comments; nothing is executed."]
    group = ""
    for row in TABLE:
        if row.group != group:
            group = row.group
            lines += ["", f"## {group}"]
        old = f" (old name: {', '.join(row.old)})" if row.old else ""
        lines += ["", f"# {row.help}{old}"]
        value = changed.get(row.name)
        lines.append(f"#{row.name}={shlex.quote(row.default) if row.default else ''}" if value is None else f"{row.name}={shlex.quote(value)}")
    return "\n".join(lines) + "\n"
