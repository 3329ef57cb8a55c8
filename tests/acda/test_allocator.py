"""Freed memory is kept where glibc allocates and the user has not said how, and only when that is asked for."""

import logging
import subprocess
import sys
from pathlib import Path

import pytest

from acda import allocator, keep_freed_memory

# A block beyond the largest that glibc keeps by itself (32 MiB) is taken and freed; pages that must be cleared anew are
# counted, of this process and of one that it forks.
FAULTS = """
import os, resource, runpy, sys
module = runpy.run_path("acda/allocator.py")
assert sys.argv[1] == "default" or module["keep_freed_memory"]()

def faults():
    bytearray(2**26)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        bytearray(2**26)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

print(faults(), flush=True)
if os.fork() == 0:
    print(faults(), flush=True)
    os._exit(0)
os.wait()
"""


def count_faults(how: str) -> list[int]:
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", FAULTS, how], cwd=root, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return [int(line) for line in done.stdout.split()]


@pytest.fixture(autouse=True)
def _nothing_said(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*allocator._VARIABLES, "GLIBC_TUNABLES"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.skipif(allocator.cannot_keep() is not None, reason="needs glibc's allocator")
def test_pages_are_used_again() -> None:
    for default, kept in zip(count_faults("default"), count_faults("kept"), strict=True):
        assert default >= 5
        assert kept < default / 10


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({}, "the C library is not glibc"),
        ({"malloc": b"libc.musl.so"}, "the C library is not glibc"),
        ({"gnu_get_libc_version": b"libc.so.6"}, "memory is allocated by another library than glibc"),
        (
            {"gnu_get_libc_version": b"libc.so.6", "malloc": b"libjemalloc.so.2"},
            "memory is allocated by another library than glibc",
        ),
        ({"gnu_get_libc_version": b"libc.so.6", "malloc": b"libc.so.6"}, None),
    ],
)
def test_only_of_glibc(files: dict[str, bytes], reason: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(allocator, "_defining_file", files.get)
    assert allocator.cannot_keep() == reason


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("MALLOC_TRIM_THRESHOLD_", "131072", "the environment says how: MALLOC_TRIM_THRESHOLD_"),
        ("GLIBC_TUNABLES", "glibc.malloc.mmap_max=9", "the environment says how: GLIBC_TUNABLES=mmap_max"),
        ("GLIBC_TUNABLES", "glibc.malloc.arena_max=1", None),
        ("MALLOC_ARENA_MAX", "2", None),
    ],
)
def test_what_the_user_has_set_stays(
    name: str, value: str, reason: str | None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(allocator, "_defining_file", lambda name: b"libc.so.6")
    monkeypatch.setenv(name, value)
    assert allocator.cannot_keep() == reason
    if reason is not None:
        caplog.set_level(logging.DEBUG, "acda")
        assert not keep_freed_memory()
        assert caplog.messages == [f"freed memory goes back to the system as glibc has it by default: {reason}"]


def test_functions_and_who_defines_them() -> None:
    assert allocator._defining_file("no_such_function_anywhere") is None
    if sys.platform == "linux":
        assert allocator._defining_file("malloc") is not None
