"""Entries of systemd's journal: read back from a real datagram socket by the protocol's own rules."""

from __future__ import annotations

import io
import logging
import os
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from dtcxen_soap import daemonlog, journald
from dtcxen_soap.journald import LONGEST_VALUE, Journald
from dtcxen_soap.logfields import about
from dtcxen_soap.vps import VpsId


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as made:
        made.bind(str(tmp_path / "socket"))
        made.settimeout(5)
        yield made


@pytest.fixture
def writer(journal: socket.socket) -> Iterator[Journald]:
    made = Journald(journal.getsockname())
    yield made
    made.close()


def entry(journal: socket.socket) -> list[tuple[str, str]]:
    """One entry, as journald reads it: NAME=value to the line's end, or NAME, a length of 64 bits, and so many bytes."""
    data, fields = journal.recv(1 << 20), []
    while data:
        line, _, rest = data.partition(b"\n")
        name, equals, value = line.partition(b"=")
        if equals:
            data = rest
        else:
            (length,) = struct.unpack("<Q", rest[:8])
            value, end, data = rest[8:8 + length], rest[8 + length:9 + length], rest[9 + length:]
            assert end == b"\n" and len(value) == length
        fields.append((name.decode(), value.decode()))
    return fields


def test_fields_arrive_as_they_were_sent(journal: socket.socket, writer: Journald) -> None:
    writer.send({"MESSAGE": "job 3: done", "DTCXEN_VPS": "01", "EMPTY": "", "EQUALS": "a=b"})
    assert entry(journal) == [("MESSAGE", "job 3: done"), ("DTCXEN_VPS", "01"), ("EMPTY", ""), ("EQUALS", "a=b")]


def test_no_value_makes_a_field_of_its_own(journal: socket.socket, writer: Journald) -> None:
    writer.send({"MESSAGE": "wrong user\nPRIORITY=0\n_UID=0", "PRIORITY": "4"})
    assert entry(journal) == [("MESSAGE", "wrong user\nPRIORITY=0\n_UID=0"), ("PRIORITY", "4")]


def test_what_is_too_long_is_cut_and_says_so(journal: socket.socket, writer: Journald) -> None:
    writer.send({"MESSAGE": "ü" * LONGEST_VALUE, "ODD": "\udc80"})
    (_, message), odd = entry(journal)
    assert message.endswith(f" (cut: {2 * LONGEST_VALUE} bytes)") and message.startswith("üü") and len(message.encode()) < LONGEST_VALUE + 40
    assert odd == ("ODD", "?")


def test_its_own_stream_is_known_by_device_and_inode(tmp_path: Path) -> None:
    with (tmp_path / "stream").open("w") as file:
        status = os.fstat(file.fileno())
        there = {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}
        assert journald.is_where_it_goes(file.fileno(), there)
        for other in ({}, {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino + 1}"}, {"JOURNAL_STREAM": "this"}, {"JOURNAL_STREAM": "1:2:3"}):
            assert not journald.is_where_it_goes(file.fileno(), other)
    assert not journald.is_where_it_goes(-1, there)


def record(level: int = logging.WARNING, **more: object) -> logging.LogRecord:
    made = logging.LogRecord("dtcxen_soap.jobs", level, "/x/jobs.py", 7, "job %d: %s", (3, "it\nfailed"), None, "run")
    made.__dict__.update(more)
    return made


def test_a_line_of_the_log_is_an_entry_with_its_fields(journal: socket.socket, writer: Journald) -> None:
    handler = daemonlog.Entries(writer, logging.NullHandler())
    handler.handle(record(**about(job=3, vps=VpsId(1), caller="dtc-xen", operation="reinstallOS", peer="")))
    assert dict(entry(journal)) == {
        "MESSAGE": "job 3: it\nfailed", "PRIORITY": "4", "SYSLOG_IDENTIFIER": "dtcxen-soap", "CODE_FILE": "/x/jobs.py", "CODE_LINE": "7", "CODE_FUNC": "run",
        "DTCXEN_JOB": "3", "DTCXEN_VPS": "01", "DTCXEN_CALLER": "dtc-xen", "DTCXEN_OPERATION": "reinstallOS"}


def test_a_traceback_is_one_entry(journal: socket.socket, writer: Journald) -> None:
    try:
        raise ValueError("out of this world")
    except ValueError as error:
        told = record(logging.ERROR, exc_info=(ValueError, error, error.__traceback__))
    daemonlog.Entries(writer, logging.NullHandler()).handle(told)
    fields = dict(entry(journal))
    assert fields["PRIORITY"] == "3" and fields["MESSAGE"].endswith("ValueError: out of this world")


def test_what_the_journal_does_not_take_goes_to_standard_error(tmp_path: Path) -> None:
    stream = io.StringIO()
    otherwise = logging.StreamHandler(stream)
    otherwise.setFormatter(daemonlog.Lines(for_terminal=False))
    writer = Journald(str(tmp_path / "gone"))
    daemonlog.Entries(writer, otherwise).handle(record())
    writer.close()
    assert stream.getvalue() == "<4>job 3: it\n<4>failed\n"
