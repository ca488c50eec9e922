"""The command and the two jobs: what they say, and how they end."""

import json
from datetime import timedelta
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from tests.audit.conftest import Attacker, write
from trading.audit import heads, mirror
from trading.audit.models import AuditEntry
from trading.jobs import runner, services
from trading.jobs.models import JobQueue, JobRun
from trading.jobs.registry import registry
from trading.jobs.states import FINAL, State
from trading.tenants.models import Client


def verify(*arguments: str) -> tuple[int, str, str]:
    """Exit status, output and errors."""
    out, err = StringIO(), StringIO()
    try:
        call_command("verify_audit", *arguments, stdout=out, stderr=err)
    except SystemExit as ended:
        return int(ended.code or 0), out.getvalue(), err.getvalue()
    return 0, out.getvalue(), err.getvalue()


def run(slug: str) -> JobRun:
    JobQueue.objects.get_or_create(name="bulk")
    made = services.enqueue(slug).run
    for _ in range(10):
        runner.execute(made.id, worker="test", code_version="test")
        made.refresh_from_db()
        if made.state in FINAL or made.state == State.RETRYING:
            return made
    raise AssertionError("the run does not end")


def break_entry(attacker: Attacker, client: Client) -> None:
    attacker.run("UPDATE audit_log SET actor = 'x' WHERE chain = %s AND sequence = 2", client.id)


def test_the_command_ends_well_on_sound_chains(desk: Client) -> None:
    write(desk, 3)
    write(None, 2)
    status, out, _ = verify()
    assert status == 0
    assert f"client {desk.id}: 3 entries, signed up to 0: sound" in out
    assert "2 chains, 5 entries, 0 broken." in out


def test_the_command_names_the_broken_entry_and_what_to_do(desk: Client, other: Client, attacker: Attacker) -> None:
    write(desk, 3)
    write(other, 3)
    break_entry(attacker, desk)
    status, out, err = verify()
    assert status == 1
    assert f"client {desk.id}: 3 entries, signed up to 0: BROKEN: entry 2 (test.done) was changed" in out
    assert f"client {other.id}: 3 entries, signed up to 0: sound" in out
    assert "docs/audit.md" in err
    assert verify("--client", str(other.id))[0] == 0
    assert verify("--client", str(desk.id))[0] == 1


def test_as_json(desk: Client, attacker: Attacker) -> None:
    write(desk, 3)
    break_entry(attacker, desk)
    status, out, _ = verify("--json")
    found = json.loads(out)
    assert status == 1
    assert found["chains"][0]["broken"] == {
        "kind": "changed",
        "sequence": 2,
        "message": "entry 2 (test.done) was changed: its hash does not fit what it says.",
    }
    assert found["public_keys"] == heads.public_keys()


def test_heads_are_exported_on_demand_and_only_when_all_is_sound(
    desk: Client, other: Client, attacker: Attacker
) -> None:
    write(desk, 3)
    assert "1 heads signed" in verify("--export")[1]
    assert "signed up to 3: sound" in verify()[1]
    write(other, 3)
    break_entry(attacker, desk)
    assert verify("--export")[0] == 1
    assert not heads.file_of(other.id).exists()


@pytest.mark.parametrize("named", ["nobody", "00000000-0000-7000-8000-000000000001", ""])
def test_a_client_that_has_no_chain_is_said(desk: Client, named: str) -> None:
    with pytest.raises(CommandError):
        verify("--client", named)


def test_the_job_verifies_and_fails_for_good_where_a_chain_is_broken(desk: Client, attacker: Attacker) -> None:
    write(desk, 3)
    sound = run("audit-verify")
    assert (sound.state, sound.result) == (State.SUCCEEDED, {"chains": 1, "entries": 3})
    break_entry(attacker, desk)
    failed = run("audit-verify")
    assert failed.state == State.FAILED
    assert f"client {desk.id}: entry 2 (test.done) was changed" in failed.error_message
    assert "docs/audit.md" in failed.error_message


def test_the_job_mirrors_and_signs(desk: Client, mirror_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as away:
        away.setattr(mirror, "path", lambda: Path("/proc/nowhere/log"))
        write(desk, 3)
    assert run("audit-export").result == {"signed": 1}
    assert mirror.behind() == 0
    signed = heads.last(desk.id)
    assert signed is not None
    assert (signed.sequence, signed.hash) == (3, AuditEntry.objects.get(sequence=3).hash)
    assert run("audit-export").result == {"signed": 0}


def test_the_job_signs_no_broken_chain(desk: Client, other: Client, attacker: Attacker) -> None:
    write(desk, 3)
    write(other, 3)
    break_entry(attacker, desk)
    failed = run("audit-export")
    assert failed.state == State.FAILED
    assert "entry 2 (test.done) was changed" in failed.error_message
    assert heads.last(desk.id) is None
    assert heads.last(other.id) is not None, "the others are signed all the same"


def test_the_job_tries_again_while_the_file_cannot_be_written(desk: Client, mirror_path: Path) -> None:
    mirror_path.mkdir(parents=True)
    write(desk)
    waiting = run("audit-export")
    assert waiting.state == State.RETRYING
    assert "QT_ADMIN_AUDIT_PATH" in waiting.error_message


def test_both_are_on_the_schedule() -> None:
    cadences = {slug: registry.get(slug).cadence for slug in ("audit-verify", "audit-export")}
    assert cadences["audit-verify"] and cadences["audit-verify"].cron
    assert cadences["audit-export"] and timedelta(seconds=cadences["audit-export"].seconds) <= timedelta(minutes=15)
