"""What the original dtc-xen left on a node, as found: what `dtcxen doctor` judges.

Paths are those of the node, also where a copy of its files is looked at. Nothing here holds a
password, a hash or a key but the text of the settings, and that does not print.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from dtcxen_soap.vps import BootMode, ImageType, IpAddress, MacAddress, Mib, VpsId


@dataclass(frozen=True)
class FoundFile:
    """A name and what it is: file, directory, link, or other. `mode` holds the permission bits, `target` where a link leads."""

    path: str
    kind: str = "file"
    mode: int = 0o600
    uid: int = 0
    size: int = 0
    target: str = ""

    @property
    def name(self) -> str:
        """The last part of its path."""
        return self.path.rpartition("/")[2]


@dataclass(frozen=True)
class FoundText:
    """A text file with its text; surrogates stand for bytes that are not UTF-8."""

    file: FoundFile
    text: str = field(repr=False)


@dataclass(frozen=True)
class StateFile:
    """A file of states/. `doing` is its first word, `program` the command line of the process that it names, "" when that is gone."""

    path: str
    doing: str
    pid: int | None
    program: str = ""


@dataclass(frozen=True)
class FstabLine:
    """A line of fstab that mounts something where trees of VPSes go. `there`: its device or image file exists."""

    number: int
    source: str
    at: str
    options: tuple[str, ...]
    there: bool


@dataclass(frozen=True)
class FoundConfig:
    """A domU's configuration, as we read it, and the lines that xl does not take. `trouble` says why it cannot be read.

    `lacking` are the paths that it names and that are not there. `screen_password`: how the
    password of its screen is kept, "" for none: "vnc" in vncpasswd, "vfb" within vfb.
    """

    file: FoundFile
    name: str = ""
    memory: Mib | None = None
    boot: BootMode | None = None
    macs: tuple[MacAddress, ...] = ()
    addresses: tuple[IpAddress, ...] = ()
    disks: tuple[tuple[str, str], ...] = ()
    lacking: tuple[str, ...] = ()
    refused_lines: tuple[int, ...] = ()
    ignored_keys: tuple[str, ...] = ()
    screen_password: str = ""
    default_password: bool = False
    trouble: str = ""


@dataclass(frozen=True)
class FoundDisk:
    """An image file, or a logical volume, whose name begins as a VPS's does. `names` are all paths that mean it; `vps` is None where it is no VPS's."""

    path: str
    size_bytes: int
    image_type: ImageType
    names: frozenset[str]
    vps: VpsId | None = None


@dataclass(frozen=True)
class HtpasswdLine:
    """A line of htpasswd without its secret. `kind`: bcrypt, apr1, sha1, sha256, sha512, des, md5, or "" for what nobody reads."""

    number: int
    user: str
    kind: str


@dataclass(frozen=True)
class FoundCertificate:
    """The service's certificate, the first of its file. `key` is as rsa-2048 or ec-256, `signed_by` the signature's hash; `trouble`: we cannot read it."""

    subject: str = ""
    ends: datetime | None = None
    key: str = ""
    signed_by: str = ""
    trouble: str = ""


@dataclass(frozen=True)
class FoundUser:
    """A system user of a console user's name, or with the original's login shell."""

    name: str
    uid: int
    group: str
    home: str
    shell: str


@dataclass(frozen=True)
class FoundLine:
    """A line of a text file of the node."""

    path: str
    number: int
    text: str


@dataclass(frozen=True)
class FoundHome:
    """The home of a console user. `key_files` are those that sshd read, with their keys as numbers of lines; `unread` the keys of no other file.

    `strange` are names in it, and in its .ssh, that are neither files nor directories.
    """

    file: FoundFile
    isos: tuple[str, ...] = ()
    keys: int = 0
    unread_keys: int = 0
    strange: tuple[str, ...] = ()


@dataclass(frozen=True)
class FoundProcess:
    """A process of the original, or whoever listens on the service's port; `argv` is its command line."""

    pid: int
    argv: tuple[str, ...]


@dataclass(frozen=True)
class OldNode:
    """All of it. `owner` is who should own a node's files: 0, or who made the copy that is looked at.

    `tls_trouble` says why the service cannot use its certificate and key, `volumes_trouble` why logical volumes are not known.
    """

    now: datetime
    owner: int = 0
    conf: FoundText | None = None
    old_settings: tuple[FoundText, ...] = ()
    settings_dir: tuple[FoundFile, ...] = ()
    htpasswd: FoundFile | None = None
    htpasswd_lines: tuple[HtpasswdLine, ...] = ()
    certificate_file: FoundFile | None = None
    certificate: FoundCertificate = FoundCertificate()
    key_file: FoundFile | None = None
    tls_trouble: str = ""
    key_copies: tuple[FoundFile, ...] = ()
    states: tuple[StateFile, ...] = ()
    fstab: tuple[FstabLine, ...] = ()
    mounted: tuple[str, ...] = ()
    configs: tuple[FoundConfig, ...] = ()
    autostart: tuple[FoundFile, ...] = ()
    autostart_lacking: frozenset[str] = frozenset()
    disks: tuple[FoundDisk, ...] = ()
    groups: tuple[str, ...] = ()
    volumes_trouble: str = ""
    samples: tuple[FoundFile, ...] = ()
    old_logs: tuple[FoundFile, ...] = ()
    users: tuple[FoundUser, ...] = ()
    console_shell: bool = False
    sudo_lines: tuple[FoundLine, ...] = ()
    homes_top: FoundFile | None = None
    homes: tuple[FoundHome, ...] = ()
    programs: tuple[str, ...] = ()
    init_links: tuple[str, ...] = ()
    processes: tuple[FoundProcess, ...] = ()
    listening: tuple[FoundProcess, ...] = ()
    link: FoundFile | None = None
    openvz: tuple[str, ...] = ()
