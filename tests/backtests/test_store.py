"""Manifests and the store: what was changed after it had been written is found, and nothing else can be reached."""

import errno
import hashlib
import multiprocessing
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from trading.backtests import canonical, manifest
from trading.backtests.manifest import Entry, Identity, Tampered
from trading.backtests.store import ArtifactStore

WHAT = Identity("a" * 64, "b" * 64, "c" * 64, "d" * 64)
ARTIFACTS = {"metrics.json": b"{}", "equity.csv": b"time,equity\n"}
CLIENT = UUID(int=1)


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(tmp_path / "artifacts")


def published(store: ArtifactStore, run_id: UUID) -> dict[str, Entry]:
    store.publish(store.stage(run_id, 1, ARTIFACTS), CLIENT, run_id)
    return {entry.filename: entry for entry in manifest.entries(ARTIFACTS)}


def test_a_manifest_says_what_it_covers() -> None:
    sealed = manifest.seal(WHAT, manifest.entries(ARTIFACTS), chain_prev=manifest.FIRST_LINK)
    files = ",".join(
        f'{{"filename":"{name}","sha256":"{hashlib.sha256(ARTIFACTS[name]).hexdigest()}","size":{size}}}'
        for name, size in (("equity.csv", 12), ("metrics.json", 2))
    )
    content = (
        f'"code_version":"{"c" * 64}",%s"data_hash":"{"b" * 64}","files":[{files}],"lock_hash":"{"d" * 64}",%s'
        f'"run_hash":"{"a" * 64}","version":1}}'
    )
    content_hash = hashlib.sha256(("{" + content % ("", "")).encode()).hexdigest()
    linked = f'{{"chain_prev":"{"0" * 64}",' + content % (f'"content_hash":"{content_hash}",', "")
    manifest_hash = hashlib.sha256(linked.encode()).hexdigest()
    assert (sealed.content_hash, sealed.manifest_hash) == (content_hash, manifest_hash)
    whole = linked.replace('"run_hash"', f'"manifest_hash":"{manifest_hash}","run_hash"')
    assert sealed.body.decode() == whole
    assert manifest.read(sealed.body) == sealed


def test_the_link_changes_the_manifest_and_not_the_content() -> None:
    first = manifest.seal(WHAT, manifest.entries(ARTIFACTS), chain_prev=manifest.FIRST_LINK)
    second = manifest.seal(WHAT, manifest.entries(ARTIFACTS), chain_prev=first.manifest_hash)
    assert first.content_hash == second.content_hash
    assert first.manifest_hash != second.manifest_hash


def test_every_change_of_a_manifest_is_found() -> None:
    body = manifest.seal(WHAT, manifest.entries(ARTIFACTS), chain_prev=manifest.FIRST_LINK).body
    for place in range(len(body)):
        other = b"1" if body[place : place + 1] != b"1" else b"2"
        with pytest.raises(Tampered):
            manifest.read(body[:place] + other + body[place + 1 :])
    for broken in (b"", b"[]", b"{}", b"null", body[:-1], body + b" ", canonical.canonical({"files": []})):
        with pytest.raises(Tampered):
            manifest.read(broken)


def test_artifacts_are_compared_by_name_size_and_bytes() -> None:
    sealed = manifest.seal(WHAT, manifest.entries(ARTIFACTS), chain_prev=manifest.FIRST_LINK)
    assert manifest.compare(sealed, ARTIFACTS) == []
    assert manifest.compare(sealed, {"metrics.json": b"{}"}) == ["equity.csv is missing"]
    assert manifest.compare(sealed, {**ARTIFACTS, "more": b""}) == ["more is not in the manifest"]
    (fault,) = manifest.compare(sealed, {**ARTIFACTS, "metrics.json": b"[]"})
    assert fault.startswith("metrics.json has SHA-256")


def test_a_published_artifact_is_read_and_a_changed_one_is_not(store: ArtifactStore) -> None:
    run_id = uuid4()
    entry = published(store, run_id)["equity.csv"]
    with store.open(CLIENT, run_id, entry) as file:
        assert file.read() == ARTIFACTS["equity.csv"]
    path = store.folder(CLIENT, run_id) / "equity.csv"
    path.write_bytes(b"time,equitY\n")
    with pytest.raises(Tampered, match="SHA-256"):
        store.open(CLIENT, run_id, entry)
    path.unlink()
    with pytest.raises(Tampered, match="cannot be read"):
        store.open(CLIENT, run_id, entry)


def test_a_link_is_not_followed_even_to_the_same_bytes(store: ArtifactStore, tmp_path: Path) -> None:
    run_id = uuid4()
    entry = published(store, run_id)["equity.csv"]
    elsewhere = tmp_path / "same"
    elsewhere.write_bytes(ARTIFACTS["equity.csv"])
    path = store.folder(CLIENT, run_id) / "equity.csv"
    path.unlink()
    path.symlink_to(elsewhere)
    with pytest.raises(Tampered):
        store.open(CLIENT, run_id, entry)


def test_what_an_attempt_left_half_done_gives_way(store: ArtifactStore) -> None:
    run_id = uuid4()
    store.stage(run_id, 1, {"metrics.json": b"old"})
    store.publish(store.stage(run_id, 1, {"metrics.json": b"older", "junk": b""}), CLIENT, run_id)
    published(store, run_id)
    assert sorted(path.name for path in store.folder(CLIENT, run_id).iterdir()) == sorted(ARTIFACTS)
    store.stage(run_id, 2, ARTIFACTS)
    store.scratch(run_id)
    store.forget(run_id)
    assert list((store.root / ".staging").iterdir()) == []


def test_a_sweep_deletes_old_folders_of_runs_that_are_not_kept(store: ArtifactStore) -> None:
    kept, gone, new = uuid4(), uuid4(), uuid4()
    for run_id in (kept, gone, new):
        published(store, run_id)
    live = uuid4()
    scratch = store.scratch(live)
    left = store.stage(live, 1, ARTIFACTS).path
    now = datetime(2026, 1, 1, tzinfo=UTC)
    for path in (store.folder(CLIENT, kept), store.folder(CLIENT, gone), scratch, left):
        os.utime(path, (now.timestamp(), now.timestamp()))
    assert store.sweep(kept=[kept, live], before=now + timedelta(days=1)) == 2
    assert {path.name for path in (store.root / str(CLIENT)).iterdir()} == {str(kept), str(new)}
    assert scratch.exists()
    assert not left.exists()
    store.remove(CLIENT, kept)
    store.remove(CLIENT, kept)
    assert not store.folder(CLIENT, kept).exists()


@pytest.mark.parametrize("refused", [1, 2, 3])
def test_what_the_disk_refuses_is_not_published(
    store: ArtifactStore, monkeypatch: pytest.MonkeyPatch, refused: int
) -> None:
    """Whether it refuses the artifacts or the manifest that joins them later."""
    fsync, calls = os.fsync, 0

    def fails_once(descriptor: int) -> None:
        nonlocal calls
        calls += 1
        if calls == refused:
            raise OSError(errno.EIO, "the disk is broken")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", fails_once)
    store.stage(uuid4(), 1, {}).wait()
    run_id = uuid4()
    before = len(list(Path("/proc/self/fd").iterdir()))
    staged = store.stage(run_id, 1, ARTIFACTS)
    staged.add({manifest.NAME: b"{}"})
    with pytest.raises(OSError, match="the disk is broken"):
        store.publish(staged, CLIENT, run_id)
    assert not store.folder(CLIENT, run_id).exists()
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_forked_process_waits_for_its_own_disk(store: ArtifactStore) -> None:
    """The thread that does so is not there after a fork."""
    published(store, uuid4())
    run_id = uuid4()
    child = multiprocessing.get_context("fork").Process(target=published, args=(store, run_id))
    child.start()
    child.join(20)
    child.kill()
    assert child.exitcode == 0
    assert {path.name for path in store.folder(CLIENT, run_id).iterdir()} == set(ARTIFACTS)
