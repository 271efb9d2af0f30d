# SPDX-License-Identifier: BSD-2-Clause
"""yoke: its exit codes, its JSON, and arguments that are no nice words."""

import base64
import fcntl
import json
import os
import pty
import re
import signal
import socket
import struct
import subprocess
import termios
import threading

import pytest

from harness import YOKE, end, until


@pytest.fixture
def daemon(start):
    return start(runner=True)


def test_every_verb_prints_json(daemon):
    job = daemon.json("submit", "-c", "--", "sh", "-c",
                      "echo out; echo err >&2")["id"]
    failed = daemon.json("submit", "-c", "--", "false")["id"]
    waiting = daemon.json("submit", "-q", "mail", "--payload", "x")["id"]
    group = daemon.json("group", "open", "--name", "mine")["id"]
    member = daemon.json("submit", "-g", group, "-c", "--", "true")["id"]
    daemon.yoke("group", "close", group)

    def one(value):
        return value[0] if isinstance(value, list) else value

    assert one(daemon.json("wait", job))["outcome"] == "ok"
    assert one(daemon.json("wait", failed))["outcome"] == "failed"
    assert one(daemon.json("result", job))["result"] == "out\n"
    assert one(daemon.json("status", job))["state"] == "finished"
    assert one(daemon.json("group", "wait", group))["ok"] == 1
    assert one(daemon.json("group", "results", group))["id"] == member
    assert "out" in json.dumps(daemon.json("logs", job))
    assert waiting in {j["id"] for j in daemon.json("ls")}
    assert group in json.dumps(daemon.json("tree"))
    assert "mail" in json.dumps(daemon.json("queue", "list"))
    assert daemon.json("queue", "info", "mail")["jobs"] == 1
    assert daemon.json("info") and daemon.json("ping")
    assert daemon.json("group", "errors", group) is None  # there are none
    daemon.yoke("limiter", "set", "gpu", "2")
    assert daemon.json("limiter", "list") == [daemon.json(
        "limiter", "info", "gpu")]
    assert one(daemon.json("dead", "list"))["id"] == failed
    assert one(daemon.json("queue", "dead", "run"))["id"] == failed
    again = daemon.json("retry", failed)["id"]
    assert one(daemon.json("wait", again))["outcome"] == "failed"
    assert one(daemon.json("dead", "retry"))["id"]
    assert "purged" in daemon.json("dead", "purge")
    assert daemon.json("queue", "purge", "mail") == {"purged": 1}
    report = daemon.json("run", "--", "sh", "-c", "echo x; exit 3")
    assert (report["stdout"], report["outcome"]) == ("x\n", "failed")
    report = daemon.json("map", "echo", "{}", ":::", "a", "b")
    assert [m["input"] for m in report["members"]] == ["a", "b"]
    # What prints no data prints nothing, or JSON.
    for words in (["queue", "set", "mail", "--max-jobs", "5"],
                  ["queue", "pause", "mail"], ["queue", "resume", "mail"],
                  ["queue", "close", "mail"], ["queue", "open", "mail"],
                  ["queue", "join", "mail"], ["queue", "drain", "mail"],
                  ["limiter", "set", "gpu", "3"], ["limiter", "del", "gpu"],
                  ["cancel", waiting], ["group", "cancel", group]):
        done = daemon.yoke("--json", *words)
        assert done.returncode == 0, done.stderr
        assert done.stdout == "" or json.loads(done.stdout) is not None


def test_json_carries_bytes_that_are_no_text(daemon):
    report = daemon.json("run", "--", "printf", r"\377\000")
    assert base64.b64decode(report["stdout_base64"]) == b"\xff\0"


@pytest.mark.parametrize("script, status", [
    ("exit 0", 0), ("exit 1", 1), ("exit 77", 77), ("exit 255", 255),
    ("kill -KILL $$", 128 + signal.SIGKILL),
    ("kill -SEGV $$", 128 + signal.SIGSEGV)])
def test_the_status_of_run_is_that_of_the_command(daemon, script, status):
    assert daemon.yoke("run", "sh", "-c", script).returncode == status


@pytest.mark.parametrize("words, status", [
    (["--timeout", "200ms", "sleep", "60"], 124),
    (["--deadline", "200ms", "sleep", "60"], 124),
    (["-q", "paused", "--expires", "200ms", "true"], 124),
    (["/no/such/command"], 127),
    (["no-such-command"], 127),
    (["/etc/passwd"], 126),
    (["--no-such-option", "true"], 125),
    (["--timeout", "soon", "true"], 125),
    ([], 125)])
def test_the_status_of_run_says_why_nothing_came(daemon, words, status):
    with daemon.client() as client:
        client.execute_command("QUEUE", "SET", "paused")
        client.execute_command("QUEUE", "PAUSE", "paused")
    done = daemon.yoke("run", *words)
    assert done.returncode == status, done.stderr
    assert done.stderr


def test_run_says_143_when_somebody_else_cancels(daemon):
    process = daemon.yoke_start("run", "--name", "victim", "sleep", "1000")
    [job] = until(lambda: daemon.json("ls", "--state", "running"), "it runs")
    assert daemon.yoke("cancel", "--reason", "enough", "--wait",
                       job["id"]).returncode == 0
    _, err = process.communicate(timeout=20)
    assert process.returncode == 143
    assert "enough" in err


def test_no_daemon_is_125_for_run_and_1_for_the_others(directory):
    nowhere = os.path.join(directory, "nowhere")
    for words, status in ((["run", "true"], 125), (["map", "true"], 125),
                          (["ping"], 1), (["ls"], 1)):
        done = subprocess.run([YOKE, "--server", nowhere] + words,
                              capture_output=True, text=True, timeout=20,
                              stdin=subprocess.DEVNULL)
        assert done.returncode == status, done
        assert nowhere in done.stderr


@pytest.mark.parametrize("words", [["frobnicate"], ["status"], ["queue"],
                                   ["ls", "--state"], ["wait", "-t", "x", "j"]])
def test_a_wrong_command_line_is_2(daemon, words):
    done = daemon.yoke(*words)
    assert done.returncode == 2
    assert done.stderr and not done.stdout


@pytest.mark.parametrize("words, where", [
    (["submit", "x", "--name", "a"], ", behind all options"),
    (["submit", "x", "y"], "")])
def test_an_option_behind_operands_is_told_where_it_belongs(
        daemon, words, where):
    done = daemon.yoke(*words)
    assert done.returncode == 2
    assert done.stderr == (
        f"yoke: submit: '{words[2]}' is one too many; it takes [PAYLOAD] | "
        f"--command -- COMMAND [ARG...]{where} (see 'yoke help submit')\n")


@pytest.mark.parametrize("failures, status", [(0, 0), (1, 1), (3, 3),
                                              (100, 100), (101, 101),
                                              (120, 101)])
def test_the_status_of_map_is_the_number_of_failures(
        daemon, failures, status):
    inputs = ["1"] * failures + ["0"] * 2
    done = daemon.yoke("map", "--halt", "never", "sh", "-c", "exit $0", "{}",
                       input="\n".join(inputs) + "\n")
    assert done.returncode == status, done.stderr


def test_map_keeps_the_order_of_the_inputs(daemon):
    words = ["map", "sh", "-c", "sleep $0; echo $0", "{}", ":::", "0.5", "0.2",
             "0"]
    assert daemon.yoke(*words).stdout == "0.5\n0.2\n0\n"
    words.insert(1, "--as-completed")
    assert daemon.yoke(*words).stdout == "0\n0.2\n0.5\n"


def test_map_reads_inputs_and_substitutes_them(daemon):
    done = daemon.yoke("map", "echo {#} {} {.} {/} {//} {/.}",
                       input="a/b.tar.gz\n\nc d.txt\n")
    assert done.stdout == ("1 a/b.tar.gz a/b.tar b.tar.gz a b.tar\n"
                           "2 c d.txt c d c d.txt . c d\n")
    done = daemon.yoke("map", "-0", "echo", input="a\nb\0c\0")
    assert done.stdout == "a\nb\nc\n"


def test_map_passes_on_every_option_of_its_jobs(daemon):
    report = daemon.json("map", "--retry", "3", "--backoff", "1ms,1ms",
                         "--factor", "1.5", "--jitter", "0", "--retry-on",
                         "exit:75", "--at", "0", "--halt", "never", "sh", "-c",
                         "exit $0", ":::", "75", "7")
    assert [m["attempts"] for m in report["members"]] == [3, 1]


def test_map_says_why_nothing_was_begun(daemon):
    daemon.yoke("queue", "set", "run")
    daemon.yoke("queue", "close", "run")
    done = daemon.yoke("map", "true", ":::", "a")
    assert done.returncode != 0
    assert "1 input was not begun: CLOSED" in done.stderr


WEIRD = [b"two words", b"'single'", b'"double"', b"new\nline", b"\xff\xfe",
         b"-n", b"--help", b"$HOME `id` $(id)", b"*", b"\\", b"{}", b"",
         b"a;b|c&d", "ünï".encode()]


def test_weird_arguments_arrive_as_they_are(daemon):
    done = daemon.yoke("run", "--", "printf", r"%s\0", *WEIRD, text=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split(b"\0")[:-1] == WEIRD


def test_weird_inputs_stay_one_word(daemon):
    inputs = [w for w in WEIRD if w]
    done = daemon.yoke("map", "-0", "printf", r"<%s>\0", "{}", text=False,
                       input=b"\0".join(inputs) + b"\0")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split(b"\0")[:-1] == [b"<%s>" % w for w in inputs]


def test_run_passes_standard_input_directory_and_environment(daemon):
    done = daemon.yoke("run", "-i", "tr", "a-z", "A-Z", input="hello")
    assert done.stdout == "HELLO"
    done = daemon.yoke("run", "--env", "A=b c", "--dir", "/", "sh", "-c",
                       'echo "$A"; pwd; cat')
    assert done.stdout == "b c\n/\n"
    assert daemon.yoke("run", "pwd", cwd="/usr").stdout == "/usr\n"


def test_large_output_comes_whole(daemon):
    done = daemon.yoke("run", "sh", "-c", "seq 1 100000")
    assert done.stdout == "".join("%d\n" % i for i in range(1, 100001))


def test_logs_follow_a_job_while_it_runs(daemon):
    fifo = os.path.join(daemon.dir, "fifo")
    os.mkfifo(fifo)
    job = daemon.json("submit", "-c", "--", "sh", "-c",
                      "echo first; echo oops >&2; read x <%s; echo $x" %
                      fifo)["id"]
    process = daemon.yoke_start("logs", "-f", job)
    assert process.stdout.readline() == "first\n"
    assert daemon.json("status", job)  # it still runs, and waits for this:
    with open(fifo, "w") as file:
        file.write("second\n")
    out, err = process.communicate(timeout=20)
    assert (out, err, process.returncode) == ("second\n", "oops\n", 0)
    assert daemon.yoke("logs", job).stdout == "first\nsecond\n"


def test_wait_and_result_end_with_124_when_the_time_is_up(daemon):
    job = daemon.json("submit", "-q", "mail", "--payload", "x")["id"]
    assert daemon.yoke("wait", "-t", "100ms", job).returncode == 124
    assert daemon.yoke("result", job).returncode == 124
    group = daemon.json("group", "open")["id"]
    assert daemon.yoke("group", "wait", "-t", "100ms", group).returncode == 124
    daemon.yoke("cancel", job)
    assert daemon.yoke("wait", job).returncode == 1
    assert daemon.yoke("wait", "j0000000000001").returncode == 1


def test_submit_takes_the_payload_byte_for_byte(daemon):
    payload = bytes(range(256)) * 100
    job = daemon.yoke("submit", "-q", "mail", input=payload,
                      text=False).stdout.decode().strip()
    with daemon.client(decode_responses=False) as client:
        [got] = client.execute_command("FETCH", 1, 0, "mail")
        assert got[3] == payload
        client.execute_command("DONE", got[1], payload)
    assert daemon.yoke("result", job, text=False).stdout == payload


def test_a_full_queue_is_told_when_nothing_waits(daemon):
    daemon.yoke("queue", "set", "tiny", "--max-jobs", "1")
    assert daemon.yoke("submit", "-q", "tiny", "x").returncode == 0
    done = daemon.yoke("submit", "-q", "tiny", "--wait", "0", "y")
    assert done.returncode == 1
    assert "full" in done.stderr.lower()


def test_the_tree_shows_what_runs(daemon):
    process = daemon.yoke_start("map", "--name", "the work", "sleep", "{}",
                                ":::", "1001", "1002")
    until(lambda: len(daemon.json("ls", "--state", "running")) == 2, "both run")
    tree = daemon.yoke("tree").stdout
    lines = tree.splitlines()
    assert lines[0].startswith("root"), tree
    [group] = [i for i, line in enumerate(lines) if "the work" in line]
    assert len([line for line in lines[group + 1:] if "running" in line]) == 2
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 130
    end(process)
    assert "running" not in daemon.yoke("tree").stdout


def test_group_errors_are_a_tree_that_can_be_split(daemon):
    group = daemon.json("group", "open", "--halt", "never")["id"]
    for code in (3, 4, 4):
        daemon.yoke("submit", "-g", group, "-c", "--", "sh", "-c",
                    "echo broke >&2; exit %d" % code)
    daemon.yoke("group", "close", group)
    assert daemon.yoke("group", "wait", group).returncode in (0, 1)
    everything = daemon.yoke("group", "errors", group).stdout
    assert len(re.findall("exit:", everything)) >= 3
    some = daemon.yoke("group", "errors", "--class", "exit:4", group).stdout
    assert "exit:4" in some and "exit:3" not in some


def test_when_the_reader_goes_away_the_group_is_cancelled(daemon):
    process = daemon.yoke_start("run", "sh", "-c", "yes")
    assert process.stdout.readline() == "y\n"
    process.stdout.close()
    process.wait(20)
    until(lambda: not daemon.json("ls", "--state", "running"), "it is gone")
    process.stderr.close()


def test_help_is_there_for_every_verb():
    text = subprocess.run([YOKE, "help"], capture_output=True, text=True).stdout
    verbs = re.findall(r"^  ([a-z]+(?: [a-z]+)?)  +\S", text, re.M)
    assert len(verbs) > 20
    for verb in verbs:
        done = subprocess.run([YOKE] + verb.split() + ["--help"],
                              capture_output=True, text=True)
        assert done.returncode == 0 and "usage" in done.stdout.lower(), verb
        text += done.stdout
    assert not [line for line in text.splitlines() if len(line) > 80]


def test_a_table_is_a_line_for_each_row_on_a_terminal(daemon):
    daemon.yoke("submit", "-q", "mail", "--name", "long " * 20, "x")
    for queue in ("mail", "a-queue-of-a-name"):
        daemon.yoke("queue", "set", queue)
    for words in (["ls"], ["queue", "list"]):
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ,
                    struct.pack("HHHH", 24, 80, 0, 0))
        subprocess.run([YOKE] + words, stdin=subprocess.DEVNULL, stdout=theirs,
                       env=daemon.environment(TERM="dumb"), timeout=20,
                       check=True)
        os.close(theirs)
        with open(ours, "rb", buffering=0) as screen:
            lines = screen.read(65536).decode().splitlines()
        assert len(lines) > 1 and max(map(len, lines)) <= 80, lines


@pytest.mark.parametrize("when, why", [
    ("2026-02-30", "is not a duration from now"),
    ("2026-04-31T12:00", "is not a duration from now"),
    ("2020-01-01", "is not in the future"),
    ("@1000000000", "is not in the future"),
])
def test_a_moment_that_cannot_be_meant_is_refused(daemon, when, why):
    done = daemon.yoke("submit", "-q", "mail", "--at", when, "x")
    assert done.returncode == 2, done
    assert "--at: '%s' %s" % (when, why) in done.stderr
    assert daemon.json("ls") == []


def utf8(daemon, *words):
    return subprocess.run([YOKE] + list(words), capture_output=True,
                          env=daemon.environment(LC_ALL="C.UTF-8"), text=True,
                          encoding="utf-8", timeout=60)


@pytest.mark.parametrize("control", [
    "\u202a", "\u202e", "\u2066", "\u2069", "\u200e", "\u200f", "\u061c"])
def test_what_turns_the_direction_of_writing_does_not_reach_the_terminal(
        daemon, control):
    with daemon.client() as client:
        job = client.execute_command(
            "SUBMIT", "mail", "x", "NAME", "a%sb\u00e4" % control)
    for verb in (["ls"], ["tree"], ["status", job]):
        done = utf8(daemon, *verb)
        assert "a?b\u00e4" in done.stdout, done
    done = utf8(daemon, "result", "j%s" % control)
    assert done.returncode == 1 and "'j?'" in done.stderr, done


def rows_at(daemon, columns, *words):
    """What the program writes to a terminal that is so wide."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ,
                struct.pack("HHHH", 24, columns, 0, 0))
    with subprocess.Popen([YOKE] + list(words), stdout=theirs,
                          stdin=subprocess.DEVNULL,
                          env=daemon.environment(LC_ALL="C.UTF-8")) as process:
        os.close(theirs)
        text = b""
        while True:
            try:
                part = os.read(ours, 4096)
            except OSError:  # the other end is closed
                part = b""
            if not part:
                break
            text += part
    os.close(ours)
    assert process.returncode == 0
    text = re.sub("\033\\[[0-9]*m", "", text.decode())
    return text.replace("\r", "").splitlines()


@pytest.mark.parametrize("columns", [1, 2, 3, 8, 20, 35])
def test_no_row_is_wider_than_its_terminal(daemon, columns):
    group = daemon.json("group", "open", "--name", "a name of some length")["id"]
    inner = daemon.json("group", "open", "--parent", group)["id"]
    job = daemon.json("submit", "-q", "mail", "-g", inner, "x")["id"]
    for verb in (["ls"], ["tree"], ["queue", "list"]):
        rows = rows_at(daemon, columns, *verb)
        assert len(rows) >= 2 and max(map(len, rows)) <= columns, rows
    if columns >= len(job):
        assert rows_at(daemon, columns, "ls")[1].startswith(job)


@pytest.mark.parametrize("verb", [
    ["run", "--stdin", "--", "cat"], ["submit", "-q", "mail"]])
def test_input_is_read_up_to_what_the_daemon_takes(daemon, verb):
    with open("/dev/zero", "rb") as endless:
        done = daemon.yoke(*verb, stdin=endless)
    assert done.returncode == (125 if verb[0] == "run" else 1), done
    assert "longer than 1048576 bytes" in done.stderr, done
    assert "payload-max" in done.stderr, done


def test_ping_does_not_wait_for_ever_for_an_answer(daemon):
    listener = socket.create_server(("127.0.0.1", 0))

    def greet_and_fall_silent():
        connection, _ = listener.accept()
        connection.recv(4096)
        connection.sendall(b"*4\r\n$7\r\nsession\r\n$14\r\n"
                           b"s0000000000001\r\n$5\r\nlease\r\n:30000\r\n")
        while connection.recv(4096):
            continue
        connection.close()

    peer = threading.Thread(target=greet_and_fall_silent)
    peer.start()
    done = daemon.yoke("--server", "127.0.0.1:%d" % listener.getsockname()[1],
                       "ping")
    peer.join()
    listener.close()
    assert done.returncode == 1 and "no answer within 5 s" in done.stderr, done


def interrupt(process):
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)


def test_run_says_that_nobody_serves_the_queue_of_what_follows(daemon):
    process = daemon.yoke_start("run", "--then", "nobody", "echo", "x")
    assert "no runner serves queue 'nobody'" in process.stderr.readline()
    interrupt(process)


def test_a_run_inside_a_job_says_that_the_slots_may_be_held(start):
    daemon = start({"runner.slots": "1"}, runner=True)
    process = daemon.yoke_start("run", YOKE, "run", "true")
    line = process.stderr.readline()
    assert "waits in queue 'run'" in line and "--slots" in line, line
    interrupt(process)


def test_an_interrupted_script_has_not_failed(daemon):
    for _ in range(40):
        process = daemon.yoke_start("group", "run", "--", "sh", "-c",
                                    "echo up; exec sleep 1000",
                                    start_new_session=True)
        process.stdout.readline()
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        _, errors = process.communicate(timeout=30)
        assert process.returncode == 130, errors
        assert "the script failed" not in errors, errors
        assert "interrupted" in errors, errors


def test_no_bound_is_shown_as_what_it_means(daemon):
    daemon.yoke("queue", "set", "mail")
    shown = daemon.yoke("queue", "info", "mail").stdout
    assert re.search("^wait +for ever$", shown, re.M), shown
    assert re.search("^retry_on +all$", shown, re.M), shown
    assert re.search("^timeout +none$", shown, re.M), shown


def test_an_id_of_zeros_is_told_what_an_id_is(daemon):
    for id_ in ("j0000000000000", "g0000000000000"):
        done = daemon.yoke("status", id_)
        assert done.returncode == 1
        assert "not all of them 0" in done.stderr, done
