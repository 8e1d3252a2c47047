# SPDX-License-Identifier: Apache-2.0
"""elf: what a shared object needs of others."""
import re
import subprocess


def run(*command):
    return subprocess.run([str(word) for word in command], check=True, capture_output=True, text=True,
                          timeout=60).stdout


def foreign(path):
    """What it needs beside libc and libm: the libraries, and the symbols that neither has. Weak
    symbols are nobody's need."""
    libraries = set(re.findall(r"\(NEEDED\) .*\[(.*)\]", run("readelf", "-d", path)))
    symbols = re.findall(r"^ +U (\S+)$", run("nm", "-D", "--undefined-only", path), re.M)
    return (libraries - {"libc.so.6", "libm.so.6"}) | {name for name in symbols if "@GLIBC_" not in name}


def exported(path):
    """The names of the symbols that it has for others."""
    return set(re.findall(r"^[0-9a-f]+ \w (\S+)$", run("nm", "-D", "--defined-only", path), re.M))
