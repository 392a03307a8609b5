"""What `dtcxen init` makes: a self-contained node below one directory, as steps; who carries them out is the CLI.

Everything of such a node (settings, credentials, journal, disks, domU configurations, bundles) lies
below its directory, so that it can be tried without touching the machine, and removed by removing it.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

from dtcxen_soap import settings
from dtcxen_soap.errors import Misconfigured
from dtcxen_soap.plans import MakeDirectory, WriteFile
from dtcxen_soap.vps import Secret

ADMIN = "dtc-xen"
LISTEN_ADDRESS = "127.0.0.1"
PRIVATE_FILE, PRIVATE_DIRECTORY, WAY_THROUGH = 0o600, 0o700, 0o711
DOCUMENTATION_NETWORK = {"GATEWAY": "192.0.2.1", "NETMASK": "255.255.255.0", "DNS": "192.0.2.53"}
"""Of RFC 5737: guests of a node that is only tried out must not be given somebody's real addresses."""

SetupStep = MakeDirectory | WriteFile


@dataclass(frozen=True)
class Layout:
    """Where the files of a self-contained node are; `directory` is absolute."""

    directory: str

    def __post_init__(self) -> None:
        if not self.directory.startswith("/") or not self.directory.isprintable() or "/../" in self.directory + "/":
            raise ValueError(f"{self.directory!r} is not an absolute path of printable characters")

    def _below(self, path: str) -> str:
        return f"{self.directory.rstrip('/')}/{path}"

    @property
    def config(self) -> str:
        return self._below("etc/dtc-xen/dtc-xen.conf")

    @property
    def htpasswd(self) -> str:
        return self._below("etc/dtc-xen/htpasswd")

    @property
    def password(self) -> str:
        return self._below("etc/dtc-xen/admin.password")

    @property
    def key(self) -> str:
        return self._below("etc/dtc-xen/privkey.pem")

    @property
    def certificate(self) -> str:
        return self._below("etc/dtc-xen/dtc-xen.cert.cert")

    @property
    def files(self) -> tuple[str, ...]:
        """Everything that init may write."""
        return (self.config, self.htpasswd, self.password, self.key, self.certificate)

    @property
    def directories(self) -> tuple[str, ...]:
        """Parents before children, since each gets its own mode."""
        below = ("etc", "etc/dtc-xen", "etc/xen", "etc/xen/auto", "usr", "usr/share", "usr/share/dtc-xen-os", "usr/share/dtc-xen-app",
                 "var", "var/lib", "var/lib/dtc-xen", "var/lib/dtc-xen/mnt", "var/lib/dtc-xen/jobs", "var/lib/dtc-xen/ttyssh_home")
        return (self.directory, *(self._below(path) for path in below))

    @property
    def ways_through(self) -> tuple[str, ...]:
        """Directories that others may enter; a self-contained node has no owners who sign in, and none of these."""
        return ("/var/lib/dtc-xen", "/var/lib/dtc-xen/ttyssh_home") if self.directory == "/" else ()


@dataclass(frozen=True)
class Lacking:
    """What must be made for a node to have an admin and a certificate; what is there is kept."""

    password: bool
    htpasswd: bool
    key: bool
    certificate: bool


@dataclass(frozen=True)
class Material:
    """What chance and cryptography made, for whatever is lacking; the rest is empty."""

    password: Secret = Secret("")
    password_hash: str = ""
    key: Secret = Secret("")
    certificate: str = ""


def lacking(layout: Layout, present: Collection[str]) -> Lacking:
    """What of the credentials is not among the `present` paths. Misconfigured for a certificate whose key is gone.

    An htpasswd that is there may be an admin's work: then no password is invented that it does not know.
    """
    if layout.certificate in present and layout.key not in present:
        raise Misconfigured(f"{layout.certificate} is there without its key {layout.key}: bring the key back, or remove the certificate too")
    return Lacking(
        password=layout.password not in present and layout.htpasswd not in present, htpasswd=layout.htpasswd not in present,
        key=layout.key not in present, certificate=layout.certificate not in present)


def certificate_names(hostname: str) -> tuple[str, ...]:
    """Every name under which this machine may be called; host names that are none are left out."""
    valid = re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?", hostname, re.ASCII)
    return tuple(dict.fromkeys(("localhost", *((hostname,) if valid else ()), LISTEN_ADDRESS, "::1")))


def node_settings(layout: Layout, port: int, xen: bool) -> dict[str, str]:
    """The settings in which a self-contained node differs from the defaults."""
    state = f"{layout.directory.rstrip('/')}/var/lib/dtc-xen"
    share = f"{layout.directory.rstrip('/')}/usr/share"
    etc = layout.config.rpartition("/")[0]
    return {
        "listen_address": LISTEN_ADDRESS, "listen_port": str(port), "admin_user": ADMIN,
        "htpasswd_file": layout.htpasswd, "tls_certificate": layout.certificate, "tls_key": layout.key,
        "state_dir": state, "image_cache": f"{state}/images", "iso_library": f"{state}/isos", "provisioning_mount_point": f"{state}/mnt", "ttyssh_home": f"{state}/ttyssh_home",
        "xen_config_dir": f"{layout.directory.rstrip('/')}/etc/xen", "config_dir": etc,
        "migrate_key": f"{etc}/migrate_key", "migrate_known_hosts": f"{etc}/migrate_known_hosts",
        "rescue_kernel": f"{state}/rescue/vmlinuz", "rescue_initrd": f"{state}/rescue/initrd.img",
        "os_dir": f"{share}/dtc-xen-os", "app_dir": f"{share}/dtc-xen-app",
        "console_shell": f"{layout.directory.rstrip('/')}/usr/lib/dtcxen-soap/console",
        "toolstack": "auto" if xen else "none", "default_image_type": "vbd", "overcommit": "yes", "manage_accounts": "no",
        **DOCUMENTATION_NETWORK,
    }


def _directory(layout: Layout, path: str) -> MakeDirectory:
    """Private, but for the way to the homes of a whole system: VPS owners sign in there, and sshd wants to get through."""
    if path in layout.ways_through:
        return MakeDirectory(why="Have a way to the homes of VPS owners, which nobody else can list.", path=path, mode=WAY_THROUGH)
    return MakeDirectory(why="Have a place that only its admin reads.", path=path, mode=PRIVATE_DIRECTORY)


def plan(layout: Layout, present: Collection[str], material: Material, port: int, xen: bool) -> tuple[SetupStep, ...]:
    """Steps that make whatever is not there. Nothing outside the directory, nothing that is there is written again."""
    return steps(layout, present, material, settings.render(node_settings(layout, port, xen)))


def steps(layout: Layout, present: Collection[str], material: Material, config: str) -> tuple[SetupStep, ...]:
    """The same with the text of the settings."""
    wanted = lacking(layout, present)
    made: list[SetupStep] = [_directory(layout, path) for path in layout.directories if path not in present]

    def write(needed: bool, why: str, path: str, content: str | Secret) -> None:
        if needed:
            made.append(WriteFile(why=why, path=path, content=content, mode=PRIVATE_FILE))

    write(wanted.key, "Make the service's private key.", layout.key, material.key)
    write(wanted.certificate, "Make a certificate signed by that key itself.", layout.certificate, material.certificate)
    write(wanted.password, "Keep the admin's password where only root reads it.", layout.password, Secret(material.password.reveal() + "\n"))
    write(wanted.htpasswd, "Let the admin sign in.", layout.htpasswd, Secret(f"{ADMIN}:{material.password_hash}\n"))
    write(layout.config not in present, "Write the settings, last: a node that has them is whole.", layout.config, config)
    return tuple(made)
