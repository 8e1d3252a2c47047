# SPDX-License-Identifier: Apache-2.0
"""The fixtures of the black-box tests: rasadd(…) and agent(…) start the real programs.

    def test_a_story(rasadd, agent):
        server = rasadd(conf='metric "A_Pressed" { plugin = "letter_counter"  letters = "aA" }')
        web = agent(server, name="web-1", lines=['{"A_Pressed": "a"}'] * 10)
        web.wait_all_acked()
        assert server.scrape().value("A_Pressed_total", agent="web-1") == 10

RASAD_BUILD names the build folder (default: build/release). What a test started is ended when it
ends; a program that died, didn't end or was reported by a sanitizer fails the test.
"""
import pytest

from harness import Agent, Process, Server
from wire import Client


@pytest.fixture
def started(request):
    """All processes that the test starts."""
    owners = []
    yield owners
    wrong = []
    for owner in reversed(owners):
        past = getattr(owner, "past", None)
        for process in past if past is not None else [getattr(owner, "process", None) or owner]:
            complaint = process.clean_up()
            command = " ".join(process.arguments)
            request.node.add_report_section("teardown", command, process.log)
            if complaint:
                wrong.append(f"{command} {complaint}:\n{process.log}")
    assert not wrong, "\n".join(wrong)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """A failure shows the logs of what ran."""
    outcome = yield
    report = outcome.get_result()
    if report.when == "call" and report.failed:
        for owner in item.funcargs.get("started", []):
            process = getattr(owner, "process", None) or owner
            report.sections.append((" ".join(process.arguments), process.log[-20000:]))


@pytest.fixture
def rasadd(started, tmp_path):
    """rasadd(conf=…): a server that listens by the time it returns."""
    def start(conf="", **options):
        folder = tmp_path / f"rasadd-{len(started)}"
        folder.mkdir()
        server = Server.__new__(Server)
        started.append(server)
        server.past, server.process = [], None
        server.__init__(folder, conf, **options)
        return server
    return start


@pytest.fixture
def agent(started, tmp_path):
    """agent(server, name=…): a running rasad-agent."""
    def start(server, **options):
        folder = tmp_path / f"agent-{len(started)}"
        folder.mkdir()
        started.append(Agent(folder, server, **options))
        return started[-1]
    return start


@pytest.fixture
def run(started, tmp_path):
    """run(arguments…): any other program that lives as long as the test."""
    def start(*arguments, **options):
        started.append(Process(arguments, tmp_path, **options))
        return started[-1]
    return start


@pytest.fixture
def connect():
    """connect(server): a Client; all are closed in the end."""
    clients = []

    def start(server, **options):
        clients.append(Client(server, **options))
        return clients[-1]
    yield start
    for client in clients:
        client.close()
