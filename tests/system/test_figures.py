# SPDX-License-Identifier: BSD-2-Clause
"""What the daemon says of those who wait, hold and work."""

import pytest

from harness import encode, pairs, until


@pytest.fixture
def daemon(start):
    return start()


@pytest.fixture
def client(daemon):
    with daemon.client() as client:
        yield client


def status(client, job):
    return pairs(client.execute_command("STATUS", job))


def test_a_job_says_what_it_needs_and_who_holds_it(client):
    for name in ("gpu", "api"):
        client.execute_command("LIMITER", "SET", name, "PERMITS", 4)
    job = client.execute_command("SUBMIT", "mail", "x", "LIMITS", "gpu:2,api")
    assert set(status(client, job)["limits"].split(",")) == {"gpu:2", "api"}
    assert status(client, job)["worker"] is None
    [[_, token, *_]] = client.execute_command("FETCH", 1, 5000, "mail")
    assert status(client, job)["worker"] == client.client_id()
    client.execute_command("DONE", token, "fine")
    assert status(client, job)["worker"] is None
    plain = client.execute_command("SUBMIT", "mail", "x")
    assert status(client, plain)["limits"] is None


def test_the_oldest_of_a_queue_is_whoever_waits_longest(client):
    def oldest():
        return pairs(client.execute_command("QUEUE", "INFO", "mail"))["oldest"]

    client.execute_command("LIMITER", "SET", "gpu", "PERMITS", 1)
    client.execute_command("QUEUE", "SET", "mail", "FAIR", 1)
    assert oldest() is None
    group = client.execute_command("GROUP", "OPEN")
    first = client.execute_command("SUBMIT", "mail", "x", "LIMITS", "gpu:1",
                                   "GROUP", group)
    second = client.execute_command("SUBMIT", "mail", "x", "LIMITS", "gpu:1")
    client.execute_command("SUBMIT", "mail", "x", "PRIORITY", 9)
    client.execute_command("SUBMIT", "mail", "x", "DELAY", 100000)
    begun = status(client, first)["submitted"]
    assert oldest() == begun
    tokens = [client.execute_command("FETCH", 1, 5000, "mail")[0][1]
              for _ in range(2)]
    assert status(client, second)["state"] in ("ready", "parked")
    assert oldest() == status(client, second)["submitted"]
    assert len(tokens) == 2
    client.execute_command("CANCEL", second)
    assert oldest() is None


def test_a_worker_is_listed_with_its_load(daemon, client):
    with daemon.raw() as worker:
        worker.sendall(encode("CLIENT", "ID"))
        number = until(lambda: worker.recv(64), "its number")[1:].strip()

        def load():
            [line] = [x for x in client.client_list()
                      if x["id"].encode() == number]
            return int(line["held"]), int(line["wanted"])

        assert load() == (0, 0)
        worker.sendall(encode("FETCH", "5", "60000", "mail"))
        until(lambda: load() == (0, 5), "it waits for five")
        client.execute_command("SUBMIT", "mail", "x")
        until(lambda: load() == (1, 0), "it has got one")
