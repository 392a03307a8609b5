"""What cloud-init is told without a cloud: the files of its data source NoCloud, in a tree or on a small disk.

The files are JSON, which is YAML, but for what the owner wrote, which stands there byte for byte. A new instance-id
is what makes cloud-init do its work, so it changes with each installation. Source: cloud-init's pages on
NoCloud, on formats of user-data, and on its network configuration, version 2.
"""

from __future__ import annotations

import base64
import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from dtcxen_soap import firstboot
from dtcxen_soap.firstbootfacts import Snippet
from dtcxen_soap.vps import Secret, VpsId

DIRECTORY = "var/lib/cloud/seed/nocloud"
META_DATA, USER_DATA, VENDOR_DATA, NETWORK_CONFIG = "meta-data", "user-data", "vendor-data", "network-config"
CLOUD_CONFIG = "#cloud-config"
NOTHING = f"{CLOUD_CONFIG}\n{{}}\n"
SOURCES_FILE = "etc/cloud/cloud.cfg.d/99-dtcxen-seed.cfg"
SOURCES = "# Written by dtcxen: what this system is told lies in /var/lib/cloud/seed.\ndatasource_list: [ NoCloud, None ]\n"


def is_cloud_config(user_data: Secret | None) -> bool:
    """Whether the owner's data is for cloud-init alone; everything else is a script."""
    return user_data is not None and user_data.reveal().startswith(CLOUD_CONFIG)


def instance(vps: VpsId, tenancy: int, now: datetime) -> str:
    """The name of one installation; no later one, nor another tenant's, has it."""
    return f"{vps.name}-{tenancy}-{now:%Y%m%dT%H%M%SZ}"


def meta_data(instance_id: str, hostname: str, keys: tuple[str, ...] = ()) -> str:
    """Who the system is; `keys` open the user that the image has for that."""
    return as_json({"instance-id": instance_id, "local-hostname": hostname, **({"public-keys": list(keys)} if keys else {})})


def as_json(value: object) -> str:
    """JSON as people can read it."""
    return json.dumps(value, indent=2) + "\n"


# -- the small disk of an HVM guest -----------------------------------------------------------------


@dataclass(frozen=True)
class Seed:
    """What an HVM guest is told: `keys` for its first user, the owner's `user_data`, and the node's `snippets`, each for `seconds`."""

    vps: VpsId
    instance: str
    hostname: str
    keys: tuple[str, ...]
    user_data: Secret | None
    network: Mapping[str, object]
    snippets: tuple[Snippet, ...]
    seconds: int


def files(seed: Seed) -> tuple[tuple[str, str | Secret], ...]:
    """Name and text of each file. The node's part is vendor data, so that the owner's data stays as it was written."""
    vendor = ((VENDOR_DATA, Secret(vendor_script(seed))),) if seed.snippets else ()
    return (
        (META_DATA, meta_data(seed.instance, seed.hostname, seed.keys)), (USER_DATA, seed.user_data or NOTHING),
        (NETWORK_CONFIG, as_json(seed.network)), *vendor)


def vendor_script(seed: Seed) -> str:
    """A script that puts the snippets and our runner where they are in every other guest, and starts it; not in an installer's own system.

    As one script, since lists of cloud-config (runcmd) that the owner's data has too would take the place of ours.
    """
    told = (("DTCXEN_VPS", str(seed.vps)), ("DTCXEN_VPS_NAME", seed.vps.name), ("DTCXEN_HOSTNAME", seed.hostname), ("DTCXEN_OS_TYPE", "xenhvm"))
    snippets = "".join(_put(f"{firstboot.WAITING}/{each.name}", each.content.reveal()) for each in seed.snippets)
    return _VENDOR_HEAD + snippets + _put(firstboot.RUN, firstboot.runner(seed.seconds, told)) + f'exec /bin/sh "$here/{firstboot.RUN}"\n'


_VENDOR_HEAD = f"""\
#!/bin/sh
# Written by dtcxen: what this system does once, at its first boot.
while read -r device place kind rest; do [ "$place" != / ] || root=$kind; done </proc/mounts
case $root in
    overlay | overlayfs | aufs | squashfs | tmpfs | ramfs | rootfs)
        echo "{firstboot.NAME}: this system lives in memory, and will not be there again: nothing is done here"
        exit 0 ;;
esac
here={firstboot.DIRECTORY}
put() {{ base64 -d >"$here/$1" && chmod 700 "$here/$1" || exit 1; }}
umask 077
rm -rf "$here"
mkdir -p "$here/{firstboot.WAITING}" "$here/{firstboot.STARTED}" || exit 1
"""


def _put(path: str, content: str) -> str:
    lines = base64.encodebytes(content.encode(errors="surrogateescape")).decode()
    return f"put {shlex.quote(path)} <<'END'\n{lines}END\n"
