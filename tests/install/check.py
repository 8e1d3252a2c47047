#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""An installed tree works where it lies, also after it was moved: its programs find their conf,
modules and templates, a plugin that it wrote is built against it with pkg-config and with CMake and
passes its tests, and an agent's and a plain socket's samples show up at /metrics.
Usage: check.py BUILD CMAKE CC"""

import os
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

PATIENCE_S = 60
PAGES = ("rasadctl.1", "rasad-client.3", "rasad.conf.5", "rasad-agent.conf.5", "rasad-plugin.7",
         "rasad-protocol.7", "rasad-agent.8", "rasadd.8")
CONF = """listen { address = "127.0.0.1" port = 0 }
http { address = "127.0.0.1" port = 0 }
state_dir = ""
metric "CPU_Utilization" { plugin = "gauge" }
metric "depth" { plugin = "peak" name = "peak_depth" help = "The deepest so far" }
"""


def run(*command, **options):
    """The command's standard output; it must succeed."""
    print("+", *command, flush=True)
    done = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, text=True,
                          timeout=PATIENCE_S, **options)
    print(done.stdout, end="", flush=True)
    if done.returncode != 0:
        raise AssertionError(f"exit code {done.returncode}")
    return done.stdout


def install(build, cmake, folder):
    """Installs to one place and moves the tree to another, which nothing in it may mind."""
    run(cmake, "--install", build, "--prefix", folder / "first")
    return (folder / "first").rename(folder / "tree")


def check_files(tree):
    for path in ("sbin/rasadd", "bin/rasad-agent", "bin/rasadctl", "libexec/rasad/rasad-worker",
                 "include/rasad/plugin.h", "share/rasad/template/gauge/YOURS.c",
                 "include/rasad/collector.h", "include/rasad/client.h", "etc/rasad/rasad.conf", "etc/rasad/agent.conf",
                 *(f"share/man/man{page[-1]}/{page}" for page in PAGES),
                 *(f"share/bash-completion/completions/{name}" for name in ("rasadd", "rasad-agent", "rasadctl")),
                 "share/doc/rasad/README.md", "share/rasad/prometheus/prometheus.yml"):
        assert (tree / path).is_file(), f"{path} is missing"
    listed = run(tree / "sbin/rasadd", "-t")
    assert str(tree / "etc/rasad/rasad.conf") in listed, "rasadd did not find the conf beside it"


def build_with_pkg_config(tree, cc, source):
    """The kit's Makefile; gives the installed plugin's path."""
    environment = dict(os.environ, PKG_CONFIG_PATH=str(next(tree.glob("lib/**/pkgconfig"))),
                       PATH=f"{tree / 'bin'}:{os.environ['PATH']}",
                       CFLAGS="-O2 -Wall -Wextra -Wpedantic -Wshadow -Wno-unused-parameter -Werror")
    for target in ("check", "install"):
        run("make", "-C", source, f"CC={cc}", target, env=environment)
    target = run("pkg-config", "--variable=plugindir", "rasad", env=environment).strip()
    assert run("pkg-config", "--variable=abi", "rasad", env=environment).strip() == "1"
    return Path(target) / "peak.so"


def build_with_cmake(tree, cmake, cc, source):
    run(cmake, "-S", source, "-B", source / "build", f"-DCMAKE_PREFIX_PATH={tree}",
        f"-DCMAKE_C_COMPILER={cc}")
    run(cmake, "--build", source / "build")
    run(Path(cmake).with_name("ctest"), "--output-on-failure", "--no-tests=error", cwd=source / "build")
    run(cmake, "--install", source / "build")


def sanitized(build):
    """A sanitized library wants a program that is, too."""
    cache = (Path(build) / "CMakeCache.txt").read_text()
    return re.search(r"^RASAD_SANITIZE:\w+=.", cache, re.M) is not None


CLIENT_CMAKE = """cmake_minimum_required(VERSION 3.25)
project(jobs LANGUAGES C)
find_package(rasad REQUIRED)
add_executable(jobs jobs.c)
target_link_libraries(jobs rasad::client)
"""


def build_client(tree, cmake, cc, folder):
    """The program in docs/client.md, as C and as C++ by pkg-config, and by CMake; gives all three."""
    page = (tree / "share/doc/rasad/client.md").read_text()
    folder.mkdir()
    (folder / "jobs.c").write_text(re.search(r"^```c\n(#include.*?)^```$", page, re.M | re.S)[1])
    (folder / "CMakeLists.txt").write_text(CLIENT_CMAKE)
    environment = dict(os.environ, PKG_CONFIG_PATH=str(next(tree.glob("lib/**/pkgconfig"))))
    words = run("pkg-config", "--cflags", "--libs", "rasad-client", env=environment).split()
    path = "-Wl,-rpath," + run("pkg-config", "--variable=libdir", "rasad-client", env=environment).strip()
    strict = ["-Wall", "-Wextra", "-Wpedantic", "-Werror"]
    run(cc, "-std=c11", *strict, folder / "jobs.c", *words, path, "-o", folder / "jobs-c")
    run("c++", "-std=c++11", *strict, "-x", "c++", folder / "jobs.c", "-x", "none", *words, path,
        "-o", folder / "jobs-c++")
    run(cmake, "-S", folder, "-B", folder / "build", f"-DCMAKE_PREFIX_PATH={tree}",
        f"-DCMAKE_C_COMPILER={cc}")
    run(cmake, "--build", folder / "build")
    return [folder / "jobs-c", folder / "jobs-c++", folder / "build/jobs"]


def check_client(tree, conf, programs):
    """Each pushes a message, from a spool that the three share one after the other."""
    conf.write_text(re.sub("(?m)^metric .*$", "", CONF) + 'metric "jobs_done" { plugin = "counter" }')
    with Server(tree, conf) as server:
        for count, program in enumerate(programs, 1):
            run(program, f"127.0.0.1:{server.ports[0]}", conf.with_name("spool"))
            server.wait_for(rf'jobs_done_total\{{agent="worker-1"\}} {count}')


class Server:
    def __init__(self, tree, conf):
        self.process = subprocess.Popen([tree / "sbin/rasadd", "-c", conf], text=True,
                                        stderr=subprocess.PIPE)
        self.ports = []
        while len(self.ports) < 2:
            line = self.process.stderr.readline()
            assert line, "rasadd has ended"
            print(line, end="", flush=True)
            self.ports += map(int, re.findall(r"127\.0\.0\.1:(\d+)", line))
        # Its log goes on; a full pipe would stop it.
        threading.Thread(target=self.process.stderr.read, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.process.terminate()
        code = self.process.wait(timeout=PATIENCE_S)
        assert code == 0 or exception[0] is not None, f"rasadd ended with exit code {code}"

    def wait_for(self, pattern):
        """Scrapes until a line is like this; each scrape is as fresh as the server can."""
        deadline = time.monotonic() + PATIENCE_S
        text = ""
        while time.monotonic() < deadline:
            url = f"http://127.0.0.1:{self.ports[1]}/metrics"
            text = urllib.request.urlopen(url, timeout=PATIENCE_S).read().decode()
            if re.search(f"(?m)^{pattern}$", text):
                return
        raise AssertionError(f"no line like {pattern} in\n{text}")


def check_running(tree, folder):
    conf = folder / "rasad.conf"
    conf.write_text(CONF)
    with Server(tree, conf) as server:
        with socket.create_connection(("127.0.0.1", server.ports[0])) as sender:
            sender.sendall(b'{"depth": 3}{"depth": 7.5}{"depth": 5}\n')
            server.wait_for(r'peak_depth\{agent="127\.0\.0\.1:\d+"\} 7\.5')
        agent = subprocess.Popen([tree / "bin/rasad-agent", "-s", f"127.0.0.1:{server.ports[0]}",
                                  "-n", "moved", "-C", "cpu", "-i", "0.05"],
                                 stderr=subprocess.DEVNULL)
        try:
            server.wait_for(r'CPU_Utilization\{agent="moved"\} [0-9.]+')
        finally:
            agent.terminate()
            assert agent.wait(timeout=PATIENCE_S) == 0, "rasad-agent did not end well"


def main():
    build, cmake, cc = sys.argv[1:]
    with tempfile.TemporaryDirectory(prefix="rasad-install-") as name:
        folder = Path(name)
        tree = install(build, cmake, folder)
        check_files(tree)
        if not sanitized(build):
            check_client(tree, folder / "jobs.conf", build_client(tree, cmake, cc, folder / "jobs"))
        run(tree / "bin/rasadctl", "new-plugin", "peak", "--into", folder)
        plugin = build_with_pkg_config(tree, cc, folder / "peak")
        check_running(tree, folder)
        os.remove(plugin)
        build_with_cmake(tree, cmake, cc, folder / "peak")
        assert plugin.exists(), "CMake did not install the plugin where pkg-config says"
        check_running(tree, folder)


if __name__ == "__main__":
    main()
