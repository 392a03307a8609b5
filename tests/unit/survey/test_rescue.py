"""What there is to rescue with: files, keys that lead nobody out of a home, a password that is new each time."""

from __future__ import annotations

import re

import pytest

from dtcxen_soap.settings import load
from dtcxen_soap.survey import rescue as survey_rescue
from dtcxen_soap.vps import VpsId
from tests.fakes import ScriptedDom0

VPS = VpsId(1)
SETTINGS = load("xen_config_dir=/x\nstate_dir=/s\nttyssh_home=/h\nrescue_kernel=/r/vmlinuz\nrescue_initrd=/r/initrd\n").settings
ALL = {"/r/vmlinuz": "", "/r/initrd": "", "/x/xen01": "name = 1\n", "/x/xen01.rescue": "", "/x/xen01.single": "", "/s/rescue/xen01.seed": "",
       "/h/xen01/.ssh/authorized_keys": "# mine\n\nssh-ed25519 AAAA me@home\n  from=\"192.0.2.1\" ssh-rsa BBBB\n\x07bad\n"}


def test_everything_that_is_there() -> None:
    found = survey_rescue.rescue(ScriptedDom0(files=ALL), SETTINGS, VPS)
    assert (found.kernel, found.ramdisk) == ("/r/vmlinuz", "/r/initrd")
    assert (found.rescue_config, found.single_config, found.seed) == ("/x/xen01.rescue", "/x/xen01.single", "/s/rescue/xen01.seed")
    assert found.config_text == "name = 1\n"
    assert found.owner_keys == ("ssh-ed25519 AAAA me@home", 'from="192.0.2.1" ssh-rsa BBBB')


@pytest.mark.parametrize(("kernel", "config"), [("/r/vmlinuz", "/r/config"), ("/boot/vmlinuz-6.1.0", "/boot/config-6.1.0"), ("/vmlinuz.d/linux", "/vmlinuz.d/linux.config")])
def test_the_kernels_own_configuration_tells_what_it_can(kernel: str, config: str) -> None:
    def pvh(text: str) -> bool:
        return survey_rescue.rescue(ScriptedDom0(files={config: text}), load(f"rescue_kernel={kernel}").settings, VPS).pvh

    assert pvh("CONFIG_XEN_PVH=y\nCONFIG_PVH=y\n")
    assert not any(pvh(text) for text in ("", "# CONFIG_PVH is not set\n", "CONFIG_XEN_PVH=y\n"))


def test_nothing_is_there() -> None:
    found = survey_rescue.rescue(ScriptedDom0(), SETTINGS, VPS)
    assert (found.kernel, found.ramdisk, found.rescue_config, found.single_config, found.seed, found.owner_keys, found.config_text) == ("", "", "", "", "", (), "")
    assert not found.pvh


def test_a_password_is_long_readable_and_never_the_same() -> None:
    made = {survey_rescue.rescue(ScriptedDom0(), SETTINGS, VPS).password.reveal() for _ in range(50)}
    assert len(made) == 50
    assert all(re.fullmatch(r"([a-km-np-z2-9]{4}-){3}[a-km-np-z2-9]{4}", text) for text in made)
