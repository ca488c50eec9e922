"""The supervisor in a process of its own, with programs that die, hang, have children and do not listen."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from runtime.process import ServerError, is_alive, wait_until
from runtime.supervisor import read_procfile

SECONDS = 15.0
NOTES_ITS_ID = 'echo $$ >> "$0"; exec sleep 300'
Line = tuple[str, Sequence[str], str | None]
Start = Callable[..., subprocess.Popen[str]]


def shell(name: str, script: str, *arguments: Path, heartbeat: Path | None = None) -> Line:
    return name, ("/bin/sh", "-c", script, *map(str, arguments)), str(heartbeat) if heartbeat else None


def numbers(path: Path) -> list[int]:
    return [int(line) for line in path.read_text().split()] if path.exists() else []


def until(condition: Callable[[], bool], seconds: float = SECONDS) -> None:
    assert wait_until(condition, seconds, pause=0.02)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    started: list[subprocess.Popen[str]] = []

    def start(*programs: Line, hung_after: float = 60.0, stop_seconds: float = 60.0) -> subprocess.Popen[str]:
        told = tmp_path / "programs.json"
        told.write_text(json.dumps({"programs": programs, "hung_after": hung_after, "stop_seconds": stop_seconds}))
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.runtime.supervised", str(told)],
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_what_is_killed_starts_again_and_the_log_says_why(start: Start, tmp_path: Path) -> None:
    ids = tmp_path / "ids"
    supervisor = start(shell("web", NOTES_ITS_ID, ids))
    until(lambda: len(numbers(ids)) == 1)
    os.kill(numbers(ids)[0], signal.SIGKILL)
    until(lambda: len(numbers(ids)) == 2)
    first, second = numbers(ids)
    assert not is_alive(first)
    assert is_alive(second)
    supervisor.send_signal(signal.SIGTERM)
    output, _ = supervisor.communicate(timeout=SECONDS)
    assert "web was ended by signal 9; it starts again in 0.5 s" in output
    assert "ended by signal 9" in (tmp_path / "logs" / "web.log").read_text()


def test_the_pause_before_a_start_doubles_while_a_program_keeps_failing(start: Start, tmp_path: Path) -> None:
    ids = tmp_path / "ids"
    supervisor = start(shell("web", 'echo $$ >> "$0"; exit 3', ids))
    until(lambda: len(numbers(ids)) == 3)
    supervisor.send_signal(signal.SIGTERM)
    output, _ = supervisor.communicate(timeout=SECONDS)
    waits = [line.rsplit(" in ", 1)[1] for line in output.splitlines() if "ended with status 3" in line]
    assert waits[:2] == ["0.5 s", "1 s"]


def test_what_gives_no_sign_of_life_is_replaced_and_what_does_stays(start: Start, tmp_path: Path) -> None:
    hung, sound, beat = tmp_path / "hung", tmp_path / "sound", tmp_path / "beat"
    beats = 'echo $$ >> "$0"; while :; do touch "$1"; sleep 0.1; done'
    start(
        shell("hung", NOTES_ITS_ID, hung, heartbeat=tmp_path / "none"),
        shell("sound", beats, sound, beat, heartbeat=beat),
        hung_after=1.0,
    )
    until(lambda: len(numbers(hung)) == 2)
    assert not is_alive(numbers(hung)[0])
    assert len(numbers(sound)) == 1
    assert "no sign of life for 1 s" in (tmp_path / "logs" / "hung.log").read_text()


def test_a_stopped_program_is_replaced_too(start: Start, tmp_path: Path) -> None:
    ids, beat = tmp_path / "ids", tmp_path / "beat"
    beats = 'echo $$ >> "$0"; while :; do touch "$1"; sleep 0.1; done'
    start(shell("worker", beats, ids, beat, heartbeat=beat), hung_after=1.0)
    until(lambda: len(numbers(ids)) == 1)
    os.kill(numbers(ids)[0], signal.SIGSTOP)
    until(lambda: len(numbers(ids)) == 2)
    assert not is_alive(numbers(ids)[0])


def test_grandchildren_end_with_a_killed_program(start: Start, tmp_path: Path) -> None:
    ids, grandchildren = tmp_path / "ids", tmp_path / "grandchildren"
    start(shell("worker", 'sleep 300 & echo $! >> "$1"; echo $$ >> "$0"; wait', ids, grandchildren))
    until(lambda: len(numbers(ids)) == 1)
    os.kill(numbers(ids)[0], signal.SIGKILL)
    until(lambda: not is_alive(numbers(grandchildren)[0]))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_lets_programs_finish_and_leaves_nothing(start: Start, tmp_path: Path, number: signal.Signals) -> None:
    ids, done = tmp_path / "ids", tmp_path / "done"
    finishes = 'trap "sleep 0.5; echo 1 >> \\"$1\\"; exit 0" TERM; sleep 300 & echo $! $$ >> "$0"; wait'
    supervisor = start(shell("worker", finishes, ids, done))
    until(lambda: len(numbers(ids)) == 2)
    supervisor.send_signal(number)
    output, _ = supervisor.communicate(timeout=SECONDS)
    assert (supervisor.returncode, output.splitlines()[-1]) == (0, "stopped")
    assert numbers(done) == [1]
    assert not any(is_alive(pid) for pid in numbers(ids))  # also the sleeper that the shell left behind


def test_a_second_interrupt_kills_what_does_not_listen(start: Start, tmp_path: Path) -> None:
    ids = tmp_path / "ids"
    supervisor = start(shell("deaf", 'trap "" TERM INT; echo $$ >> "$0"; while :; do sleep 300; done', ids))
    until(lambda: len(numbers(ids)) == 1)
    supervisor.send_signal(signal.SIGINT)
    with pytest.raises(subprocess.TimeoutExpired):
        supervisor.wait(timeout=1.0)
    assert is_alive(numbers(ids)[0])
    supervisor.send_signal(signal.SIGINT)
    supervisor.wait(timeout=5.0)
    assert not is_alive(numbers(ids)[0])


def test_what_does_not_listen_is_killed_after_the_time_to_stop(start: Start, tmp_path: Path) -> None:
    ids = tmp_path / "ids"
    deaf = shell("deaf", 'trap "" TERM INT; echo $$ >> "$0"; while :; do sleep 300; done', ids)
    supervisor = start(deaf, stop_seconds=1.0)
    until(lambda: len(numbers(ids)) == 1)
    supervisor.send_signal(signal.SIGTERM)
    supervisor.wait(timeout=10.0)
    assert not is_alive(numbers(ids)[0])


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's word on a parent's death is Linux's alone")
def test_programs_end_with_a_killed_supervisor(start: Start, tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    supervisor = start(shell("web", NOTES_ITS_ID, one), shell("beat", NOTES_ITS_ID, two))
    until(lambda: bool(numbers(one) and numbers(two)))
    supervisor.kill()
    until(lambda: not any(is_alive(pid) for pid in numbers(one) + numbers(two)))


def test_a_program_that_does_not_exist_is_named_and_the_others_run(start: Start, tmp_path: Path) -> None:
    ids = tmp_path / "ids"
    supervisor = start(("lost", (str(tmp_path / "absent"),), None), shell("web", NOTES_ITS_ID, ids))
    until(lambda: len(numbers(ids)) == 1)
    supervisor.send_signal(signal.SIGTERM)
    output, _ = supervisor.communicate(timeout=SECONDS)
    assert "lost cannot be started" in output


def test_procfile_gives_each_program_its_words_and_workers_a_heartbeat(tmp_path: Path) -> None:
    path = tmp_path / "Procfile"
    path.write_text("# programs\n\nweb: serve --port $PORT 'two words'\nbulk: python -m workers.worker bulk\n")
    web, bulk = read_procfile(path, {"PORT": "8010"}, tmp_path)
    assert (web.name, web.argv, web.heartbeat) == ("web", ("serve", "--port", "8010", "two words"), None)
    assert bulk.heartbeat == tmp_path / "heartbeat-bulk"
    assert bulk.environment["QT_HEARTBEAT_FILE"] == str(tmp_path / "heartbeat-bulk")
    assert "QT_HEARTBEAT_FILE" not in web.environment


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("web: serve\njust words\n", "line 2 is not of the form `name: command`"),
        ("web:\n", "line 1 is not of the form"),
        ("web: serve $PORT\n", r"line 1 uses \$PORT, which is not set"),
    ],
)
def test_procfile_errors_name_the_line(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "Procfile"
    path.write_text(text)
    with pytest.raises(ServerError, match=said):
        read_procfile(path, {}, tmp_path)
