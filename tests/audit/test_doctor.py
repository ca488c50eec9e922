"""What the doctor and the metrics say of the audit log."""

from datetime import timedelta
from pathlib import Path

import pytest
from django.test import Client as Http
from django.utils import timezone

from tests.audit.conftest import Attacker, write
from trading.audit import heads, mirror, verification
from trading.operations.diagnosis import Finding, diagnose
from trading.tenants.models import Client


def found() -> list[Finding]:
    return [finding for finding in diagnose() if finding.subject == "audit"]


def gauge() -> str:
    text = Http().get("/metrics").content.decode()
    return next(line for line in text.splitlines() if line.startswith("audit_mirror_behind "))


def test_all_is_well(desk: Client) -> None:
    write(desk, 3)
    assert [finding.level for finding in found()] == ["ok"]
    assert gauge() == "audit_mirror_behind 0.0"


def test_a_mirror_that_is_behind_or_cannot_be_read(
    desk: Client, mirror_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as away:
        away.setattr(mirror, "path", lambda: Path("/proc/nowhere/log"))
        write(desk, 3)
    (finding,) = found()
    assert (finding.level, "3 entries" in finding.message) == ("warning", True)
    assert "verify_audit --export" in finding.fix
    assert gauge() == "audit_mirror_behind 3.0"
    mirror_path.parent.mkdir()
    Path(f"{mirror_path}.position").mkdir()
    assert [finding.level for finding in found()] == ["error"]
    assert gauge() == "audit_mirror_behind -1.0"


def test_heads_that_are_late_or_forged(desk: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    write(desk, 3)
    monkeypatch.setattr(verification, "UNSIGNED_FOR", timedelta(0))
    assert [finding.level for finding in found()] == ["ok", "error"]
    verification.export(now=timezone.now())
    assert [finding.level for finding in found()] == ["ok"]
    with heads.file_of(desk.id).open("a") as file:
        file.write("{}\n")
    (_, finding) = found()
    assert (finding.level, "docs/audit.md" in finding.fix) == ("error", True)


def test_a_trigger_that_is_off(desk: Client, attacker: Attacker) -> None:
    attacker.server.execute("ALTER TABLE audit_log DISABLE TRIGGER audit_log_refuse_change")
    assert "trigger" in found()[-1].message
    attacker.server.execute("ALTER TABLE audit_log ENABLE TRIGGER audit_log_refuse_change")
    assert "trigger" in found()[-1].message, "one that session_replication_role switches off is not enough"
    attacker.server.execute("ALTER TABLE audit_log ENABLE ALWAYS TRIGGER audit_log_refuse_change")
    assert [finding.level for finding in found()] == ["ok"]
