"""A VPS moves between two nodes, with everything real but Xen and ssh: equal bytes, one startable VPS, whatever is cut or killed on the way."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import zeep.exceptions

from tests.twonodes import MovingNode, pair

pytestmark = [pytest.mark.root, pytest.mark.slow]


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[tuple[MovingNode, MovingNode]]:
    old, new = pair(tmp_path)
    yield old, new
    for node in (old, new):
        if node.daemon is not None:
            node.stop()
        node.halt()


def test_a_running_vps_moves(nodes: tuple[MovingNode, MovingNode]) -> None:
    old, new = nodes
    before = old.digests()
    old.boot()
    htpasswd = Path(old.settings.htpasswd_file)
    htpasswd.write_text(htpasswd.read_text() + "xen01:$2b$12$hash\n")
    with old, new:
        record = old.migrate(copyFirst=True)
        log = old.job_log(record.id)
        assert record.state == "done", record.reason + log
        assert "moved to other.example.org" in record.reason and "booted: login prompt" in record.reason
        assert new.digests() == before and old.digests("kept") == before and old.digests() == ()
        assert new.startable() and not old.startable() and new.running() == ["xen01"] and old.running() == []
        assert (new.xen / "auto/xen01").is_symlink() and not (old.xen / "auto/xen01").is_symlink()
        config = (new.xen / "xen01").read_text()
        assert "# made by an admin, with care" in config and f"target={new.mnt}/xen01.img" in config and str(old.mnt) not in config
        assert "xen01:$2b$12$hash" in Path(new.settings.htpasswd_file).read_text() and "xen01:" not in htpasswd.read_text()
        assert "$2b$12$hash" not in log and new.client().getVPSState(vps="01").state == "running"
        assert (new.mnt / "xen01.img").stat().st_blocks * 512 < 16 << 20, "holes stay holes"
        assert not list(new.directory.rglob("*.arriving")) and not list(old.directory.rglob("*.leaving"))
        with pytest.raises(zeep.exceptions.Fault, match="no configuration"):
            old.client().startVPS(vps="01")


def test_one_that_is_down_stays_down(nodes: tuple[MovingNode, MovingNode]) -> None:
    old, new = nodes
    before = old.digests()
    with old:
        record = old.migrate(toVps="07")
        assert record.state == "done", record.reason + old.job_log(record.id)
    assert new.digests(name="xen07") == before and (new.xen / "xen07").read_text().count("xen07") == 3 and new.running() == []
