"""The status page of a real daemon over TLS: a failure with its log, who sees it, and that the next tenant does not."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from passlib.hash import bcrypt

from dtcxen_soap.wire.looks import JOB_SECONDS
from tests.node import Node

pytestmark = pytest.mark.root

PASSWORD = "s3cret of all"
CONFIG = 'name = "xen{0}"\nmemory = 128\nvif = [ "ip={1}" ]\n'
HOSTILE = "<script>alert(1)</script> \u202egnp.exe"


class Seen(Node):
    """A node with a monitor and two owners, one of whose VPSes answers pings."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory, monitor_user="watch", auth_failure_delay_ms="100")
        with Path(self.settings.htpasswd_file).open("a") as file:
            file.writelines(f"{user}:{bcrypt.using(rounds=4).hash(PASSWORD)}\n" for user in ("watch", "xen03", "xen04"))
        for vps, address in (("03", "127.0.0.1"), ("04", "255.255.255.255")):
            (Path(self.settings.xen_config_dir) / f"xen{vps}").write_text(CONFIG.format(vps, address))

    def get(self, path: str, user: str = "watch", **headers: str) -> requests.Response:
        session = requests.Session()
        session.trust_env = False
        return session.get(f"{self.url}{path}", auth=(user, PASSWORD) if user else None, verify=self.settings.tls_certificate, headers=headers, timeout=20)

    def tables(self, user: str = "watch") -> dict[str, Any]:
        rows = self.get("status.json", user).json()["tables"]
        return {name: [[cell["text"] for cell in row] for row in table["rows"]] for name, table in rows.items()}


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seen]:
    with Seen(tmp_path_factory.mktemp("seen")) as made:
        hook = Path(made.settings.config_dir) / "hooks/setupVPSDisk-pre.d/10-no"
        hook.parent.mkdir(parents=True, exist_ok=True)
        hook.write_text(f"#!/bin/sh\necho '{HOSTILE}' >&2\nexit 1\n")
        hook.chmod(0o755)
        with contextlib.suppress(Exception):
            made.client().setupVPSDisk(vps="03", diskSizeMib=64, swapSizeMib=0)
        yield made


def test_the_node_at_a_glance(node: Seen) -> None:
    page = node.get("")
    assert page.status_code == 200 and page.headers["content-type"].startswith("text/html") and "default-src 'none'" in page.headers["content-security-policy"]
    found = node.tables()
    assert [(row[0], row[1], row[4], row[5]) for row in found["vpses"]] == [
        ("xen03", "stopped", "127.0.0.1", "1 of 1"), ("xen04", "stopped", "255.255.255.255", "0 of 1")]
    assert ["VPSes", "2 stopped"] in found["node"] and any(re.fullmatch(r"ends 20\d\d-.*, in \d+ days", row[1]) for row in found["node"])
    assert any(name.startswith("Disk images in /") and size.endswith("iB") for name, size in found["capacity"])
    assert found["live"] == [["none"]]


def test_a_failure_leads_to_its_log_and_its_text_is_harmless(node: Seen) -> None:
    job, operation, vps, _, how, reason = node.tables()["failures"][0]
    assert (operation, vps, how) == ("setupVPSDisk", "xen03", "failed") and reason
    link = re.search(r'href="/(jobs/\d+)"', node.get("").text)
    assert link and link[1] == f"jobs/{job.split()[1]}"
    page = node.get(link[1]).text
    assert "&lt;script&gt;alert(1)&lt;/script&gt; \\u202egnp.exe" in page and "<script>alert" not in page and "\u202e" not in page


def test_an_owner_sees_the_own_jobs_and_the_next_tenant_does_not(node: Seen) -> None:
    failed = node.tables()["failures"][0][0].split()[1]
    assert node.tables("xen03")["failures"][0][0] == f"Job {failed}" and node.get(f"jobs/{failed}", "xen03").status_code == 200
    assert node.tables("xen04")["failures"] == [["none"]]
    assert node.get(f"jobs/{failed}", "xen04").status_code == 404 == node.get("jobs/99", "xen04").status_code
    assert ["Addresses", "255.255.255.255"] in node.tables("xen04")["own"] and "127.0.0.1" not in node.get("", "xen04").text
    node.client().killVPSDisk(vps="03")
    with Path(node.settings.htpasswd_file).open("a") as file:  # the panel gives the number to somebody else
        file.write(f"xen03:{bcrypt.using(rounds=4).hash(PASSWORD)}\n")
    time.sleep(JOB_SECONDS + 0.1)
    assert node.tables("xen03")["failures"] == [["none"]] and node.get(f"jobs/{failed}", "xen03").status_code == 404
    assert node.get(f"jobs/{failed}").status_code == 200, "the node's own history stays"


def test_strangers_are_asked_and_others_pages_refused(node: Seen) -> None:
    asked = node.get("", "")
    assert asked.status_code == 401 and asked.headers["www-authenticate"].startswith("Basic realm=")
    assert node.get("", "xen05").status_code == 401
    assert node.get("status.json", **{"Sec-Fetch-Site": "cross-site"}).status_code == 403
