"""What a new system must be told: one record, made by reinstall.py, read by bundles and by every finishing step."""

from __future__ import annotations

from dataclasses import dataclass

from dtcxen_soap.facts import AptSource
from dtcxen_soap.firstbootfacts import AppFact, Snippet
from dtcxen_soap.vps import DiskRole, GuestNetwork, IpAddress, Secret, Vps


@dataclass(frozen=True, kw_only=True)
class Guest:
    """One VPS on the way to its new system.

    `tree` is where its root disk is mounted in dom0; `hostname` is the full one; `node` is the
    dom0's host name. `modules` is the directory of dom0 that holds the modules of `kernel_release`,
    "" when there is none; `node_kernel` and `node_ramdisk` are that kernel's files there, "" likewise. The texts are the admin's files, None where there is no such file.
    `snippets` run once, at the first boot, each for `snippet_seconds` at most. `owner_keys` are the owner's
    SSH keys for root, `cloud_config` is for cloud-init, `instance` names this installation. `private` are files with secrets that
    snippets read, `appliance` and `panel_source` what an appliance finds in the tree.
    """

    vps: Vps
    tree: str
    os_type: str
    hostname: str
    network: GuestNetwork
    password: Secret
    fstype: str
    kernel_release: str = ""
    modules: str = ""
    node_kernel: str = ""
    node_ramdisk: str = ""
    motd: str | None = None
    bashrc: str | None = None
    authorized_keys: str | None = None
    node: str = ""
    snippets: tuple[Snippet, ...] = ()
    snippet_seconds: int = 900
    owner_keys: tuple[str, ...] = ()
    cloud_config: Secret | None = None
    instance: str = ""
    private: tuple[Snippet, ...] = ()
    appliance: AppFact | None = None
    panel_source: AptSource | None = None

    @property
    def short_hostname(self) -> str:
        """The host name up to its first dot."""
        return self.hostname.partition(".")[0]

    @property
    def domain(self) -> str:
        """The host name behind its first dot; "" when it has none."""
        return self.hostname.partition(".")[2]

    @property
    def has_swap(self) -> bool:
        return any(disk.role is DiskRole.SWAP for disk in self.vps.disks)

    @property
    def first_address(self) -> IpAddress | None:
        """The address that the host name stands for: the first one, IPv4 before IPv6."""
        every = sorted(self.network.nic.addresses, key=lambda address: address.version)
        return every[0].ip if every else None
