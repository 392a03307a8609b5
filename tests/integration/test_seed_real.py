"""Seeds by the programs that read them: xorriso makes the disk, the kernel mounts it, cloud-init's schema judges it and cloud-init obeys it.

All in the tests' Debian 13; its cloud-init runs in a mount namespace where all that it writes is in memory.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from dtcxen_soap import cloudseed, rescueseed
from dtcxen_soap.cloudseed import Seed
from dtcxen_soap.firstbootfacts import Snippet
from dtcxen_soap.seeddisk import make_steps
from dtcxen_soap.vps import MacAddress, Secret, VpsId
from tests.unit.test_seeddisk import KEY, SETTINGS, SNIPPETS, asked, facts

pytestmark = [pytest.mark.machine, pytest.mark.root, pytest.mark.debian13]
MAC = MacAddress("00:16:3e:10:10:50")
CLOUD_CONFIG = "#cloud-config\nwrite_files:\n- {path: /tmp/owner, content: owner}\nruncmd:\n- [touch, /tmp/owners-command]\n"
NETWORK = rescueseed.netplan(MAC, rescueseed.network(tuple(address.ip for address in asked().addresses), SETTINGS))


def run(*argv: str, **more: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(argv, capture_output=True, text=True, timeout=300, **more)  # type: ignore[call-overload, no-any-return]


def write(home: Path, files: tuple[tuple[str, str | Secret], ...]) -> None:
    home.mkdir(parents=True, exist_ok=True)
    for name, text in files:
        (home / name).write_bytes((text if isinstance(text, str) else text.reveal()).encode(errors="surrogateescape"))
        (home / name).chmod(0o600)


def seed(snippets: tuple[Snippet, ...] = SNIPPETS, user_data: str = CLOUD_CONFIG) -> Seed:
    return Seed(VpsId(50), "xen50-0-1", "xen50.example.net", (KEY,), Secret(user_data), NETWORK, snippets, 20)


@pytest.mark.parametrize("name", ["user-data", "network-config"])
def test_the_schema_finds_nothing(tmp_path: Path, name: str) -> None:
    for user_data in (CLOUD_CONFIG, cloudseed.NOTHING):
        write(tmp_path, cloudseed.files(seed(user_data=user_data)))
        kind = ("--schema-type", "network-config") if name == "network-config" else ()
        done = run("cloud-init", "schema", *kind, "--config-file", str(tmp_path / name))
        assert done.returncode == 0 and "Valid schema" in done.stdout, done.stdout + done.stderr
    (tmp_path / "bad").write_text("#cloud-config\nruncmd: 7\n")
    assert run("cloud-init", "schema", "--config-file", str(tmp_path / "bad")).returncode, "it does judge"


def test_the_disk_is_called_cidata_and_only_root_reads_it(tmp_path: Path) -> None:
    steps = [step for step in make_steps(asked(sshKeys=KEY), SETTINGS, facts()) if hasattr(step, "argv")]
    write(tmp_path / "files", cloudseed.files(seed()))
    argv = [word.replace("/s/seeds/xen50.work", str(tmp_path)) for word in steps[0].argv]
    done = run(*argv)
    assert done.returncode == 0, done.stderr
    assert run("blkid", "--probe", "--output", "export", str(tmp_path / "seed.iso")).stdout.count("LABEL=cidata\n") == 1
    told = run("xorriso", "-indev", str(tmp_path / "seed.iso"), "-find", "/", "-type", "f", "-exec", "lsdl", "--")
    assert sorted(line.split("'")[1] for line in told.stdout.splitlines() if "'" in line) == ["/meta-data", "/network-config", "/user-data", "/vendor-data"]
    assert all(line.startswith("-rw-------") for line in told.stdout.splitlines() if "'" in line)


OBEY = """set -e
mount -t tmpfs tmpfs /run
for dir in /etc /root /home /var; do mkdir -p /run/upper$dir /run/work$dir; mount -t overlay -o lowerdir=$dir,upperdir=/run/upper$dir,workdir=/run/work$dir overlay $dir; done
mkdir -p /var/lib/cloud/seed/nocloud /etc/cloud/cloud.cfg.d
cp "$FILES"/* /var/lib/cloud/seed/nocloud/
printf '%s' "$SOURCES" >/etc/cloud/cloud.cfg.d/99-dtcxen-seed.cfg
# Modules that would start services or install packages have no place in a chroot.
cat >/etc/cloud/cloud.cfg.d/99-zz-test.cfg <<'END'
network: {config: disabled}
cloud_init_modules: [write_files]
cloud_config_modules: [runcmd]
cloud_final_modules: [scripts_vendor, scripts_per_once, scripts_per_boot, scripts_per_instance, scripts_user]
END
cloud-init init --local >/run/out 2>&1
cloud-init init >>/run/out 2>&1
cloud-init modules --mode=config >>/run/out 2>&1
cloud-init modules --mode=final >>/run/out 2>&1 || true
cat /run/out >&2
cloud-init query --format '{{v1.instance_id}} {{v1.subplatform}}'
cat /var/log/dtcxen-firstboot.log 2>/dev/null || true
ls -d /var/lib/dtcxen-firstboot 2>&1 || true
"""


def obey(files: Path) -> str:
    done = run("unshare", "--mount", "--propagation", "private", "sh", "-c", OBEY, env={**os.environ, "FILES": str(files), "SOURCES": cloudseed.SOURCES})
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_cloud_init_does_the_owners_part_and_the_nodes(tmp_path: Path) -> None:
    for name in ("first", "owner", "owners-command"):
        Path("/tmp", name).unlink(missing_ok=True)
    snippet = Snippet("1-first", Secret("#!/bin/sh\necho snippet of $DTCXEN_VPS_NAME >/tmp/first\n"))
    write(tmp_path, cloudseed.files(seed((snippet,))))
    told = obey(tmp_path)
    assert "xen50-0-1 seed-dir" in told
    assert Path("/tmp/owner").read_text() == "owner" and Path("/tmp/owners-command").exists()
    assert Path("/tmp/first").read_text() == "snippet of xen50\n" and "1-first: done" in told and "/var/lib/dtcxen-firstboot'" in told


def test_a_tree_with_a_seed_is_told_the_same_way(tmp_path: Path) -> None:
    Path("/tmp/owner").unlink(missing_ok=True)
    write(tmp_path, ((cloudseed.META_DATA, cloudseed.meta_data("xen50-0-2", "xen50.example.net")), (cloudseed.USER_DATA, Secret(CLOUD_CONFIG))))
    assert "xen50-0-2 seed-dir" in obey(tmp_path) and Path("/tmp/owner").exists()


def test_an_installers_own_system_runs_nothing(tmp_path: Path) -> None:
    script = tmp_path / "vendor"
    script.write_text(cloudseed.vendor_script(seed()))
    live = "mount -t tmpfs tmpfs /mnt && mkdir -p /mnt/proc /mnt/bin /mnt/usr /mnt/lib /mnt/lib64 /mnt/var && mount --rbind /usr /mnt/usr && " \
           "mount --rbind /bin /mnt/bin && mount --rbind /lib /mnt/lib && mount --rbind /lib64 /mnt/lib64 && mount -t proc proc /mnt/proc && cp $FILE /mnt/vendor && " \
           "exec chroot /mnt /bin/sh -c 'sh /vendor; ls /var'"
    done = run("unshare", "--mount", "--propagation", "private", "sh", "-c", live, env={**os.environ, "FILE": str(script)})
    assert done.returncode == 0 and done.stdout == "dtcxen-firstboot: this system lives in memory, and will not be there again: nothing is done here\n", done.stderr


def test_what_is_told_is_json() -> None:
    files = dict(cloudseed.files(seed()))
    assert json.loads(str(files["network-config"]))["version"] == 2 and json.loads(str(files["meta-data"]))["public-keys"] == [KEY]
