"""What init makes, as steps: all of it below one directory, private, and nothing twice."""

from __future__ import annotations

import pytest

from dtcxen_soap import settings
from dtcxen_soap.errors import Misconfigured
from dtcxen_soap.hostsetup import Layout, Material, certificate_names, lacking, plan
from dtcxen_soap.plans import MakeDirectory, WriteFile
from dtcxen_soap.vps import ImageType, Secret

HERE = Layout("/srv/my node")
MADE = Material(Secret("geheim"), "$2b$12$hash", Secret("private-key"), "CERTIFICATE")


def writes(*present: str) -> dict[str, str]:
    """What is written when `present` is there, with secrets shown."""
    steps = plan(HERE, present, MADE, 8089, False)
    return {step.path: step.content.reveal() if isinstance(step.content, Secret) else step.content for step in steps if isinstance(step, WriteFile)}


def test_everything_lies_below_the_directory_and_is_private() -> None:
    for step in plan(HERE, (), MADE, 8089, False):
        assert step.path == HERE.directory or step.path.startswith(HERE.directory + "/")
        assert step.mode == (0o700 if isinstance(step, MakeDirectory) else 0o600)


def test_every_parent_is_made_first_with_its_own_mode() -> None:
    known = {"/srv"}
    for step in plan(HERE, (), MADE, 8089, False):
        assert step.path.rpartition("/")[0] in known, step.path
        known.add(step.path)


def test_the_settings_read_back_and_name_no_path_outside() -> None:
    made = settings.load(writes()[HERE.config]).settings
    assert (made.listen_address, made.listen_port, made.admin_user) == ("127.0.0.1", 8089, "dtc-xen")
    assert (made.default_image_type, made.overcommit, made.manage_accounts, made.toolstack) == (ImageType.VBD, True, False, "none")
    assert [str(item) for item in (*made.GATEWAY, made.NETMASK, *made.DNS)] == ["192.0.2.1", "255.255.255.0", "192.0.2.53"]
    for row in settings.TABLE:
        value = getattr(made, row.name)
        if isinstance(value, str) and value.startswith("/"):
            assert value.startswith("/srv/my node/"), row.name


def test_on_a_whole_system_owners_get_through_to_their_homes() -> None:
    modes = {step.path: step.mode for step in plan(Layout("/"), (), MADE, 8089, False) if isinstance(step, MakeDirectory)}
    assert {path for path, mode in modes.items() if mode != 0o700} == {"/var/lib/dtc-xen", "/var/lib/dtc-xen/ttyssh_home"}
    assert modes["/var/lib/dtc-xen/ttyssh_home"] == 0o711


def test_every_directory_that_the_settings_name_is_made() -> None:
    made = settings.load(writes()[HERE.config]).settings
    directories = {step.path for step in plan(HERE, (), MADE, 8089, False) if isinstance(step, MakeDirectory)}
    assert {made.state_dir, made.provisioning_mount_point, made.ttyssh_home, made.xen_config_dir, f"{made.xen_config_dir}/auto",
            made.config_dir, made.os_dir, made.app_dir, made.job_log_dir} <= directories


def test_where_xen_is_its_toolstack_is_found() -> None:
    step = plan(HERE, (), MADE, 0, True)[-1]
    assert isinstance(step, WriteFile) and isinstance(step.content, str)
    made = settings.load(step.content).settings
    assert (made.toolstack, made.listen_port) == ("auto", 0)


def test_the_credentials_are_one_account() -> None:
    made = writes()
    assert made[HERE.htpasswd] == "dtc-xen:$2b$12$hash\n" and made[HERE.password] == "geheim\n"
    assert (made[HERE.key], made[HERE.certificate]) == ("private-key", "CERTIFICATE")
    printed = repr(plan(HERE, (), MADE, 8089, False))
    assert not any(secret in printed for secret in ("geheim", "private-key", "$2b$12$hash"))


def test_a_second_time_nothing_is_left_to_do() -> None:
    assert plan(HERE, (*HERE.files, *HERE.directories), Material(), 8089, False) == ()


@pytest.mark.parametrize("there", HERE.files)
def test_no_file_that_is_there_is_written(there: str) -> None:
    present = {there, *((HERE.key,) if there == HERE.certificate else ())}
    assert not present & set(writes(*present))


def test_the_settings_come_last_since_they_make_a_node_whole() -> None:
    steps = plan(HERE, (), MADE, 8089, False)
    assert steps[-1].path == HERE.config and steps[0].path == HERE.directory


def test_an_htpasswd_that_is_there_gets_no_password_that_it_does_not_know() -> None:
    assert HERE.password not in writes(HERE.htpasswd)
    assert HERE.htpasswd in writes(HERE.password)


def test_a_certificate_without_its_key_is_refused() -> None:
    with pytest.raises(Misconfigured, match="without its key"):
        lacking(HERE, {HERE.certificate})
    found = lacking(HERE, {HERE.key})
    assert not found.key and found.certificate


@pytest.mark.parametrize("path", ["relative", "", "/a/../b", "/new\nline"])
def test_a_directory_that_settings_could_not_name_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match="absolute path"):
        Layout(path)


@pytest.mark.parametrize(("hostname", "names"), [
    ("node.example.com", ("localhost", "node.example.com", "127.0.0.1", "::1")), ("localhost", ("localhost", "127.0.0.1", "::1")),
    ("under_score", ("localhost", "127.0.0.1", "::1")), ("", ("localhost", "127.0.0.1", "::1"))])
def test_the_names_of_the_certificate(hostname: str, names: tuple[str, ...]) -> None:
    assert certificate_names(hostname) == names
