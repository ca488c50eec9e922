"""The mirror: each entry once and in order, whatever becomes of the file; it never fails who is recorded."""

import fcntl
import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from django.conf import settings
from django.db import connections, transaction

from tests.audit.conftest import write
from trading.audit import mirror
from trading.audit.models import AuditEntry
from trading.audit.services import record
from trading.core.scope import platform_scope
from trading.tenants.models import Client


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines() if line.endswith("}")]


def places(path: Path) -> list[tuple[object, object]]:
    return [(line["chain"], line["sequence"]) for line in lines(path)]


def failures() -> float:
    return mirror.FAILURES._value.get()


def test_each_entry_is_a_line_after_its_commit_and_none_of_a_rollback(desk: Client, mirror_path: Path) -> None:
    with transaction.atomic():
        record("test.done", client_id=desk.id, data={"text": "one\nline"})
        record("test.done", client_id=desk.id)
        assert not mirror_path.exists()
    with transaction.atomic():
        record("test.undone", client_id=desk.id)
        transaction.set_rollback(True)
    write(None)
    entries = AuditEntry.objects.order_by("chain", "sequence")
    expected = [{**entry.contents, "hash": entry.hash} for entry in entries]
    assert sorted(lines(mirror_path), key=lambda line: (str(line["chain"]), line["sequence"])) == expected
    assert mirror_path.stat().st_mode & 0o777 == 0o600
    assert mirror.behind() == 0


def test_what_is_missed_while_the_file_cannot_be_written_comes_with_the_next_entry(
    desk: Client, mirror_path: Path
) -> None:
    write(desk, 2)
    mirror_path.rename(mirror_path.with_suffix(".kept"))
    mirror_path.mkdir()  # not a file: open fails, whoever asks
    before = failures()
    write(desk, 3)
    assert failures() == before + 3
    assert AuditEntry.objects.count() == 5, "and the entries are kept"
    assert mirror.behind() == 3
    mirror_path.rmdir()
    mirror_path.with_suffix(".kept").rename(mirror_path)
    write(desk)
    assert places(mirror_path) == [(str(desk.id), number) for number in range(1, 7)]


def test_the_job_writes_what_was_missed_in_every_chain(
    desk: Client, other: Client, mirror_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as away:
        away.setattr(mirror, "path", lambda: Path("/proc/nowhere/log"))
        for client in (desk, other, None):
            write(client, 25)
    monkeypatch.setattr(mirror, "BATCH", 10)
    assert mirror.behind() == 75
    assert mirror.catch_up() == 75
    assert mirror.catch_up() == 0
    assert mirror.behind() == 0
    assert [number for chain, number in places(mirror_path) if chain == str(desk.id)] == list(range(1, 26))


def test_a_request_does_not_write_a_long_backlog(
    desk: Client, mirror_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as away:
        away.setattr(mirror, "path", lambda: Path("/proc/nowhere/log"))
        write(desk, 5)
    monkeypatch.setattr(mirror, "MOST_AT_ONCE", 3)
    write(desk)
    assert places(mirror_path) == []
    assert mirror.catch_up() == 6


def test_a_rotated_file_is_begun_anew_and_goes_on_where_it_was(desk: Client, mirror_path: Path) -> None:
    write(desk, 3)
    mirror_path.rename(mirror_path.with_suffix(".1"))
    write(desk, 2)
    assert [number for _, number in places(mirror_path)] == [4, 5]


def test_a_crash_between_the_line_and_its_position_repeats_nothing(desk: Client, mirror_path: Path) -> None:
    position = Path(f"{mirror_path}.position")
    write(desk, 2)
    kept = position.read_bytes()
    write(desk, 2)
    position.write_bytes(kept)
    write(desk)
    assert [number for _, number in places(mirror_path)] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("torn", [b"", b"{", b"[]", b'{"inode": 1}', b"\x00\x00"])
def test_a_torn_position_is_found_again_in_the_file(desk: Client, mirror_path: Path, torn: bytes) -> None:
    write(desk, 3)
    Path(f"{mirror_path}.position").write_bytes(torn)
    write(desk)
    assert [number for _, number in places(mirror_path)] == [1, 2, 3, 4]


def test_a_line_that_was_cut_short_is_written_again_on_one_of_its_own(desk: Client, mirror_path: Path) -> None:
    write(desk, 2)
    whole = mirror_path.read_bytes()
    mirror_path.write_bytes(whole[:-20])
    Path(f"{mirror_path}.position").unlink()
    write(desk)
    assert [number for _, number in places(mirror_path)] == [1, 2, 3]


def test_a_stopped_process_that_holds_the_file_does_not_hold_up_others(desk: Client, mirror_path: Path) -> None:
    write(desk)
    descriptor = os.open(f"{mirror_path}.position", os.O_RDWR)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    before = failures()
    write(desk)
    assert failures() == before + 1
    os.close(descriptor)
    write(desk)
    assert [number for _, number in places(mirror_path)] == [1, 2, 3]


def test_many_writers_leave_whole_lines_in_order(desk: Client, other: Client, mirror_path: Path) -> None:
    @platform_scope()
    def work(client: Client) -> None:
        try:
            write(client, 25)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, (desk, other, desk, other)))
    mirror.catch_up()
    for client in (desk, other):
        assert [number for chain, number in places(mirror_path) if chain == str(client.id)] == list(range(1, 51))


def test_the_check_that_the_documentation_shows_holds_for_every_line(desk: Client, mirror_path: Path) -> None:
    shown = (settings.BASE_DIR / "docs" / "audit.md").read_text()
    code = next(block.partition("```")[0] for block in shown.split("```python\n") if block.startswith("import hashlib"))
    with transaction.atomic():
        record("test.done", client_id=desk.id, subject="thing:€", data={"z": [1, None, True], "a": {"ü": "\u2028"}})
    write(None)
    for line in mirror_path.read_text().splitlines():
        exec(code, {"line": line})
        with pytest.raises(AssertionError):
            exec(code, {"line": line.replace('"actor":"system"', '"actor":"System"')})
