"""`check_dtcxen`: a node's health for Nagios, Icinga and their like, by the Monitoring Plugins guidelines.

One line on standard output, exit code 0 to 3. UNKNOWN is for what is wrong on this side: the command
line, a file, a user who may not ask. A daemon that cannot be reached, is not to be trusted, answers
with a failure of its own or not in time is CRITICAL, as the guidelines have it; `-t 10:UNKNOWN`
chooses another state for the last. Help and version are UNKNOWN, as they say too.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

from dtcxen_soap import __version__
from dtcxen_soap.cli import thresholds as cli_thresholds
from dtcxen_soap.cli.console import Door, Parser, Unreachable, UsageError, first_line, say
from dtcxen_soap.cli.thresholds import Range, State, judge, performance_data
from dtcxen_soap.errors import DtcxenError
from dtcxen_soap.vps import VpsId

MODE_NAMES = ("health", "ping", "jobs", "space", "certificate")
DEFAULT_PORT, DEFAULT_SECONDS, LONGEST_SECONDS = 8089, 10.0, 600.0
_LONGEST_LINE = 1000
_EXAMPLES = """\
examples:
  check_dtcxen -H node.example.com --ca node.pem --mode health -w 1 -c 5
  check_dtcxen -H node.example.com --ca node.pem -u monitor --password-file FILE --mode ping -c 5
  check_dtcxen -H node.example.com --ca node.pem -u monitor --password-file FILE --mode space -w 20480: -c 4096: --place vg0
  check_dtcxen -H node.example.com --ca node.pem --mode certificate

ranges are [@][start:]end: 10 alerts below 0 and above 10, 10: below 10, ~:10 above 10, @10:20 from 10 to 20.
without -w and -c: ping and jobs warn of any; space warns below 10240 and is critical below 2048 MiB, certificate 30 and 7 days.
exit codes: 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN"""


class OutOfTime(BaseException):
    """The time is over; no handler of a library's errors stops it."""


def main(arguments: Sequence[str] | None = None) -> int:
    """One look; its exit code. `console_scripts` exits with what this returns."""
    mode, performance = "CHECK", ""
    try:
        options = _parse(arguments)
        mode = options.mode.upper()
        state, text, performance = _checked(options)
    except SystemExit:
        return State.UNKNOWN
    except UsageError as error:
        state, text = State.UNKNOWN, f"{str(error).splitlines()[0]}; --help says more"
    except (DtcxenError, OSError, Unreachable) as error:
        state, text = _state_of(error), str(error)
    except Exception as error:  # a plugin never ends with a traceback: its first line is what the admin is shown
        state, text = State.UNKNOWN, f"a defect of the plugin: {type(error).__name__}: {error}"
    say(f"DTCXEN {mode} {state.name}: {_one_line(text)}" + (f" | {performance}" if performance else ""))
    return state


def _state_of(error: Exception) -> State:
    """What an error means: what the node must mend is CRITICAL, what we must is UNKNOWN."""
    code = getattr(error, "code", "")
    return State.CRITICAL if isinstance(error, Unreachable) or code.startswith("Server") else State.UNKNOWN


def _checked(options: argparse.Namespace) -> tuple[State, str, str]:
    """State, text and performance data; OutOfTime ends here."""
    seconds, late = options.timeout
    try:
        with _alarm(seconds), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _look(options, seconds)
    except OutOfTime:
        return late, f"no answer within {seconds:g} s", ""


def _look(options: argparse.Namespace, seconds: float) -> tuple[State, str, str]:
    from dtcxen_soap.cli import monitoring_modes as modes
    mode = modes.MODES[options.mode]
    warning, critical = (given or (cli_thresholds.parse(usual) if usual else None)
                         for given, usual in ((options.warning, mode.warning), (options.critical, mode.critical)))
    vps = str(options.vps) if options.vps else ""
    found = mode.look(modes.Question(_door(options, mode.signs_in), seconds, vps, tuple(options.place or ()), options.since))
    return max(found.state, judge(found.figures, warning, critical)), found.text, performance_data(found.figures, warning, critical)


def _door(options: argparse.Namespace, signs_in: bool) -> Door:
    """Where the daemon is, whom it must prove to be, and who we are."""
    host = f"[{options.hostname}]" if ":" in options.hostname else options.hostname
    trust: str | bool = options.ca or not options.insecure
    if options.ca:
        os.stat(options.ca)
    if signs_in and not (options.user and options.password_file):
        raise UsageError(f"--mode {options.mode} signs in: --user and --password-file are missing")
    password = first_line(options.password_file) if signs_in else ""
    return Door(f"https://{host}:{options.port}/", options.user or "", password, trust)


@contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    """Raise OutOfTime here after so many seconds, whatever is waited for."""
    def ring(number: int, frame: FrameType | None) -> None:
        raise OutOfTime
    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _one_line(text: str) -> str:
    """Without what ends the line or begins performance data."""
    return re.sub(r"[\s\x00-\x1f\x7f]+", " ", text.replace("|", "/"))[:_LONGEST_LINE].strip()


# -- the command line -------------------------------------------------------------------------------------


def parser() -> argparse.ArgumentParser:
    """The options, named as the guidelines name them."""
    made = Parser(prog="check_dtcxen", description="Check a DTC-Xen node.", epilog=_EXAMPLES)
    made.add_argument("-V", "--version", action="version", version=f"check_dtcxen {__version__}")
    made.add_argument("-H", "--hostname", required=True, type=_host, help="the node's name or address")
    made.add_argument("-p", "--port", type=_port, default=DEFAULT_PORT, help=f"the daemon's port; {DEFAULT_PORT} when not given")
    made.add_argument("-u", "--user", help="who signs in: best the node's monitor_user; health and certificate need none")
    made.add_argument("--password-file", metavar="FILE", help="the user's password")
    made.add_argument("--mode", required=True, choices=MODE_NAMES, help="what to look at")
    made.add_argument("-w", "--warning", type=_range, metavar="RANGE", help="WARNING outside of it")
    made.add_argument("-c", "--critical", type=_range, metavar="RANGE", help="CRITICAL outside of it")
    made.add_argument("-t", "--timeout", type=_timeout, default=(DEFAULT_SECONDS, State.CRITICAL), metavar="SECONDS[:STATE]",
                      help=f"when to give up, and what that is; {DEFAULT_SECONDS:g}:CRITICAL when not given")
    trust = made.add_mutually_exclusive_group()
    trust.add_argument("--ca", metavar="FILE", help="trust this certificate (PEM); the system's when not given")
    trust.add_argument("--insecure", action="store_true", help="trust whatever answers there; it is told the password")
    made.add_argument("--vps", type=_vps, metavar="NN", help="ping, jobs: this VPS only")
    made.add_argument("--place", action="append", help="space: hold only this one to the thresholds, as vg0, vg0/pool, /srv or memory; may be repeated")
    made.add_argument("--since", type=_hours, default=24.0, metavar="HOURS", help="jobs: that ended within so many hours; 24 when not given")
    return made


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    return parser().parse_args(arguments)


def _checked_number(text: str, least: float, most: float, what: str) -> float:
    if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,6})?", text, re.ASCII) or not least <= float(text) <= most:
        raise argparse.ArgumentTypeError(f"{text!r} is not {what}, expected {least:g} to {most:g}")
    return float(text)


def _host(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._:-]{1,253}", text, re.ASCII) or text.startswith("-"):
        raise argparse.ArgumentTypeError(f"{text!r} is not the name or address of a host")
    return text


def _port(text: str) -> int:
    number = _checked_number(text, 1, 65535, "a port")
    if number != int(number):
        raise argparse.ArgumentTypeError(f"{text!r} is not a port, expected 1 to 65535")
    return int(number)


def _timeout(text: str) -> tuple[float, State]:
    seconds, _, name = text.partition(":")
    names = [state.name for state in State]
    if name and name.upper() not in names:
        raise argparse.ArgumentTypeError(f"{name!r} is not a state, expected one of {', '.join(names)}")
    return _checked_number(seconds, 0.1, LONGEST_SECONDS, "a time in seconds"), State[name.upper() or "CRITICAL"]


def _hours(text: str) -> float:
    return _checked_number(text, 0.01, 24 * 366, "a time in hours")


def _range(text: str) -> Range:
    try:
        return cli_thresholds.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _vps(text: str) -> VpsId:
    try:
        return VpsId.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


if __name__ == "__main__":
    sys.exit(main())
