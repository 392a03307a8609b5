"""What each step does on the machine: one case per kind, and how holds are acquired and released.

Order, rollback and progress are execute.py's; here is only the way from a frozen record to Dom0.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import assert_never

from dtcxen_soap import bootwatch, domus, imagesteps, movesteps, moving, passwords, plans, quotasteps
from dtcxen_soap.dom0 import Dom0, Ran, Unwatched, Watch
from dtcxen_soap.errors import Failed
from dtcxen_soap.journal import Held, Journal
from dtcxen_soap.planprint import paste

Plain = (
    plans.WriteFile | plans.MakeDirectory | plans.AllocateFile | plans.RemoveFile | plans.RemoveDirectory | plans.RenameFile | plans.ExchangeFile | plans.PinFile | plans.Symlink
    | plans.BlockVps | plans.NextTenancy | plans.CheckTarball | plans.CheckDigest | plans.TreeWrite | plans.TreeRemove | plans.TreeSymlink
    | plans.TreeDirectory | plans.TreeCopy | plans.TreeCopyFile | plans.TreePassword | plans.TreeHostKey
    | plans.MakeVolume | plans.RemoveVolume | plans.RenameVolume | plans.ExchangeVolume | plans.TagVolume
    | plans.MustBeFree | plans.WaitGone | plans.EndDomu | plans.WatchBoot
    | plans.MakeAccount | plans.RemoveAccount | plans.AccountPassword | plans.HtpasswdLine | plans.MakeHome | plans.WriteKeys | plans.RemoveBelow
    | quotasteps.MarkProject | imagesteps.KeepImage | imagesteps.VerifyImage | imagesteps.CloneImage | movesteps.Moving
)
Say = Callable[[str], None]

POLICY = "usr/sbin/policy-rc.d"
NO_SERVICE = "#!/bin/sh\n# While this VPS is being installed no service may start. 101: action forbidden (invoke-rc.d).\nexit 101\n"
_TAIL_LINES = 20


def perform(step: Plain, dom0: Dom0, journal: Journal, watch: Watch, told: moving.Told = moving.untold) -> str:
    """Do one step that neither runs a command nor holds anything; what it found out, in words. OSError or Failed as the machine says."""
    if isinstance(step, movesteps.Moving):
        return moving.perform(step, dom0, journal, watch, told)
    match step:
        case plans.WriteFile():
            dom0.write_file(step.path, _bytes(step.content), step.mode)
        case plans.MakeDirectory():
            dom0.make_directory(step.path, step.mode)
        case plans.AllocateFile():
            dom0.allocate_file(step.path, step.size.bytes, step.sparse, step.mode)
        case plans.RemoveFile():
            dom0.remove_file(step.path)
        case plans.RemoveDirectory():
            return "" if dom0.remove_directory(step.path) else f"{step.path} is not empty and stays"
        case plans.RenameFile():
            dom0.rename_file(step.source, step.target)
        case plans.ExchangeFile():
            dom0.exchange_file(step.source, step.target, step.keep)
        case plans.PinFile():
            dom0.pin_file(step.top, step.path, step.target)
        case plans.Symlink():
            dom0.symlink(step.path, step.target)
        case plans.BlockVps():
            journal.block(step.vps, step.reason)
        case plans.NextTenancy():
            journal.next_tenancy(step.vps)
        case plans.MakeVolume() | plans.RemoveVolume() | plans.RenameVolume() | plans.ExchangeVolume() | plans.TagVolume():
            _on_volume(step, dom0, watch)
        case (plans.MakeAccount() | plans.RemoveAccount() | plans.AccountPassword() | plans.HtpasswdLine() | plans.MakeHome() | plans.WriteKeys()
              | plans.RemoveBelow() | quotasteps.MarkProject()):
            _on_account(step, dom0)
        case plans.CheckTarball():
            dom0.check_tarball(step.path, step.judge, watch)
        case imagesteps.KeepImage() | imagesteps.VerifyImage() | imagesteps.CloneImage():
            _on_image(step, dom0, watch)
        case plans.CheckDigest():
            dom0.check_digest(step.path, step.sha256, watch, keep=step.keep)
        case plans.MustBeFree():
            domus.must_be_free(step, dom0, watch)
        case plans.WaitGone():
            domus.wait_gone(step, dom0, watch)
        case plans.EndDomu():
            domus.end(step, dom0, watch)
        case plans.WatchBoot():
            return bootwatch.watch_boot(step, dom0, watch)
        case _:
            _in_tree(step, dom0)
    return ""


_OnVolume = plans.MakeVolume | plans.RemoveVolume | plans.RenameVolume | plans.ExchangeVolume | plans.TagVolume


def _on_volume(step: _OnVolume, dom0: Dom0, watch: Watch) -> None:
    match step:
        case plans.MakeVolume():
            dom0.make_volume(step.vg, step.lv, step.size, step.pool, step.tags)
        case plans.RemoveVolume():
            dom0.remove_volume(step.vg, step.lv, step.wipe, watch)
        case plans.RenameVolume():
            dom0.rename_volume(step.vg, step.source, step.target)
        case plans.ExchangeVolume():
            dom0.exchange_volume(step.vg, step.source, step.target, step.keep)
        case plans.TagVolume():
            dom0.tag_volume(step.vg, step.lv, step.add, step.remove)
        case _:
            assert_never(step)


_OnAccount = (
    plans.MakeAccount | plans.RemoveAccount | plans.AccountPassword | plans.HtpasswdLine | plans.MakeHome | plans.WriteKeys | plans.RemoveBelow
    | quotasteps.MarkProject)


def _on_account(step: _OnAccount, dom0: Dom0) -> None:
    match step:
        case plans.MakeAccount():
            dom0.make_account(step)
        case plans.RemoveAccount():
            dom0.remove_account(step.user, step.lock)
        case plans.AccountPassword():
            dom0.set_account_password(step.users, passwords.hash_for_guest(step.password), step.lock)
        case plans.HtpasswdLine():
            dom0.set_htpasswd(step.path, step.user, passwords.hash_for_htpasswd(step.password) if step.password else None, step.lock)
        case plans.MakeHome():
            dom0.make_home(step.top, step.name, step.uploader)
        case plans.WriteKeys():
            dom0.write_keys(step.top, step.name, step.keys)
        case plans.RemoveBelow():
            dom0.remove_below(step.top, step.path)
        case quotasteps.MarkProject():
            dom0.mark_project(step.top, step.path, step.project)
        case _:
            assert_never(step)


_OnImage = imagesteps.KeepImage | imagesteps.VerifyImage | imagesteps.CloneImage


def _on_image(step: _OnImage, dom0: Dom0, watch: Watch) -> None:
    match step:
        case imagesteps.KeepImage():
            made_with = {argv[0]: dom0.capture(argv).output.strip() for argv in step.tools}
            dom0.keep_image(step, made_with, watch)
        case imagesteps.VerifyImage():
            dom0.verify_image(step, watch)
        case imagesteps.CloneImage():
            dom0.clone_image(step, watch)
        case _:
            assert_never(step)


_InTree = (
    plans.TreeWrite | plans.TreeRemove | plans.TreeSymlink | plans.TreeDirectory | plans.TreeCopy | plans.TreeCopyFile | plans.TreePassword | plans.TreeHostKey)


def _in_tree(step: _InTree, dom0: Dom0) -> None:
    tree = dom0.tree(step.tree)
    match step:
        case plans.TreeWrite():
            tree.write(step.path, _bytes(step.content), step.mode, step.owner)
        case plans.TreeRemove():
            tree.remove(step.path)
        case plans.TreeSymlink():
            tree.symlink(step.path, step.target)
        case plans.TreeDirectory():
            tree.make_directory(step.path, step.mode)
        case plans.TreeCopy():
            tree.copy(step.source, step.into)
        case plans.TreeCopyFile():
            tree.copy_file(step.source, step.path, step.mode)
        case plans.TreePassword():
            tree.set_password(step.user, passwords.hash_for_guest(step.password))
        case plans.TreeHostKey():
            private, public = dom0.new_host_key(step.kind)
            tree.write(step.path, _bytes(private), 0o600, (0, 0))
            tree.write(f"{step.path}.pub", f"{public} {step.comment}\n".encode(), 0o644, (0, 0))
        case _:
            assert_never(step)


def _bytes(content: plans.Content) -> bytes:
    return (content if isinstance(content, str) else content.reveal()).encode(errors="surrogateescape")


def run(step: plans.Run, dom0: Dom0, say: Say, watch: Watch) -> str:
    """Run a step's command; what its code means, in words. Failed with the command and its last lines when that is not among ok_codes."""
    ran = dom0.run(step, say, Unwatched() if step.patient else watch)
    if ran.code not in step.ok_codes:
        tail = "\n".join(ran.output.splitlines()[-_TAIL_LINES:])
        raise Failed(step.why, _reason(step, ran), command(step, dom0), tail)
    return dict(step.outcomes).get(ran.code, "")


def _reason(step: plans.Run, ran: Ran) -> str:
    """The command's own words where the step knows how to read them, else what its code means, else how it ended."""
    said = step.words(ran.output) if step.words and 0 < ran.code < 124 else ""
    return said or dict(step.outcomes).get(ran.code) or _ending(step, ran.code)


def _ending(step: plans.Run, code: int) -> str:
    if code == 124:
        return f"{step.argv[0]} took longer than {step.timeout_seconds} seconds and was ended"
    if code == 127:
        return f"{step.argv[0]} was not found"
    return f"{step.argv[0]} was ended by signal {code - 128}" if code > 128 else f"{step.argv[0]} ended with code {code}"


def command(step: plans.Run, dom0: Dom0) -> str:
    """The command with its environment, ready to paste; secrets print as redacted."""
    words = tuple(f"{name}={value}" for name, value in step.env)
    return paste((*(("env", *words) if words else ()), *dom0.command_of(step)))


# -- holds ----------------------------------------------------------------------------------------


def hold_record(hold: plans.Hold, n: int, dom0: Dom0) -> Held:
    """What the journal keeps of a hold, before it is acquired, so that another daemon could release it.

    Failed when somebody else uses what is to be held: their mount would be released for ours.
    """
    if isinstance(hold, plans.ServicesOff):
        detail = {"tree": hold.tree, "before": dom0.tree(hold.tree).read_text(POLICY)}
        return Held(str(n), type(hold).__name__, json.dumps(detail))
    if isinstance(hold, imagesteps.MakingImage):
        return Held(str(n), type(hold).__name__, json.dumps({"unfinished": hold.unfinished}))
    if dom0.mounted_at(hold.at):
        raise Failed(hold.why, f"something is mounted on {hold.at} already; nothing of ours, or left over: umount it")
    if loops := dom0.loop_devices_of(hold.source):
        raise Failed(hold.why, f"{hold.source} is attached to {', '.join(loops)} already")
    return Held(str(n), type(hold).__name__, json.dumps({"at": hold.at, "source": hold.source}))


def acquire(hold: plans.Hold, dom0: Dom0, watch: Watch) -> bool:
    """Mount, forbid services to start in the tree, or be the one who makes an image; whether the inner steps are still wanted."""
    match hold:
        case plans.ServicesOff():
            dom0.tree(hold.tree).write(POLICY, NO_SERVICE, 0o755)
        case imagesteps.MakingImage():
            return dom0.begin_image(hold, watch)
        case _:
            dom0.mount(hold.source, hold.at, hold.fstype, hold.options)
    return True


def release(held: Held, dom0: Dom0, say: Say) -> None:
    """Let go of what a record tells; fine when it is gone already, so it can be run again."""
    detail = json.loads(held.detail)
    if held.kind == plans.ServicesOff.__name__:
        _services_on(dom0, detail["tree"], detail["before"])
        return
    if held.kind == imagesteps.MakingImage.__name__:
        dom0.end_image(detail["unfinished"])
        return
    dom0.unmount(detail["at"], say)
    for device in dom0.loop_devices_of(detail["source"]):
        say(f"{device} outlived its mount and is detached")
        dom0.detach_loop(device)


def _services_on(dom0: Dom0, root: str, before: str | None) -> None:
    """Put policy-rc.d back as it was; a tree that is not mounted any more needs nothing."""
    tree = dom0.tree(root)
    if before is None:
        tree.remove(POLICY)
    elif tree.exists("usr/sbin"):
        tree.write(POLICY, before, 0o755)
