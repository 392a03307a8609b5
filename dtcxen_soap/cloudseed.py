"""What cloud-init is told without a cloud: the files of its data source NoCloud, in a tree or on a small disk.

The files are JSON, which is YAML, but for what the owner wrote, which stands there byte for byte. A new instance-id
is what makes cloud-init do its work, so it changes with each installation. Source: cloud-init's pages on
NoCloud, on formats of user-data, and on its network configuration, version 2.
"""

from __future__ import annotations

import json
from datetime import datetime

from dtcxen_soap.vps import Secret, VpsId

DIRECTORY = "var/lib/cloud/seed/nocloud"
META_DATA, USER_DATA = "meta-data", "user-data"
CLOUD_CONFIG = "#cloud-config"
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
