#!/usr/bin/python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""Records this folder's captures again, with real programs in network namespaces.

usage: record.py --list | all | TARGET... [--out DIR] [--oracle FILE]

One target is one capture, named as the file. Needs root (network namespaces, tcpdump) and the programs of the target;
the Debian packages that lack are named. Nothing leaves the namespaces, and nothing outlives this program: record/lab.py
says why. Beside each capture goes X.expected.json if the oracle is at hand (--oracle, or oracle.py in $WEIR_CORPUS or
in ../shared/pcaps beside the workspace); otherwise the stale one is removed and that is said.
"""
import argparse
import os
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.dont_write_bytecode = True
sys.path.insert(0, str(HERE / "record"))
import lab  # noqa: E402
import office  # noqa: E402, F401  (it adds its target)
import services  # noqa: E402, F401  (it adds its targets)
from targets import TARGETS  # noqa: E402


def oracle(given):
    for path in (given, os.environ.get("WEIR_CORPUS"), HERE.parent.parent / "shared" / "pcaps"):
        if path:
            path = pathlib.Path(path)
            path = path if path.suffix == ".py" else path / "oracle.py"
            if path.is_file():
                return path
    return None


def record(name, out, judge):
    target = TARGETS[name]
    path = out / name
    path.parent.mkdir(parents=True, exist_ok=True)
    rc = subprocess.run(lab.enter([sys.executable, str(HERE / "record.py"), "--inside", name, str(path.resolve())]), preexec_fn=lab.die_with_parent).returncode
    if rc:
        print(f"{name}: failed", file=sys.stderr)
        return False
    expected = path.with_name(path.stem + ".expected.json")
    if judge:
        subprocess.run([sys.executable, str(judge), *target.oracle, "-o", str(expected), str(path)], check=True)
    elif expected.exists():
        expected.unlink()
        print(f"{name}: no oracle, so {expected.name} is removed", file=sys.stderr)
    print(f"{name}: {path.stat().st_size} octets" + (f", expected {expected.stat().st_size}" if judge else ""))
    return True


def main():
    if sys.argv[1:2] == ["--inside"]:
        TARGETS[sys.argv[2]].run(lab.Lab(), sys.argv[3])
        return 0
    ap = argparse.ArgumentParser(description="records captures again with real programs in network namespaces")
    ap.add_argument("targets", nargs="*", metavar="TARGET", help="a capture's name, or all")
    ap.add_argument("--list", action="store_true", help="name the targets")
    ap.add_argument("--out", type=pathlib.Path, default=HERE, help="folder to write to (default: this one)")
    ap.add_argument("--oracle", help="oracle.py, which makes the expected results")
    a = ap.parse_args()
    if a.list:
        for name, t in TARGETS.items():
            print(f"{name:32} {t.proves}")
        return 0
    names = list(TARGETS) if a.targets == ["all"] else a.targets
    unknown = [n for n in names if n not in TARGETS]
    if not names or unknown:
        print(f"record.py: no such target: {' '.join(unknown)}" if unknown else ap.format_usage(), file=sys.stderr)
        return 2
    if os.geteuid() != 0:
        print("record.py: needs root, since it makes network namespaces: sudo pcaps/record.py ...", file=sys.stderr)
        return 2
    lack = lab.missing({p for n in names for p in TARGETS[n].needs})
    if lack:
        print(f"record.py: programs are missing: apt-get install {' '.join(lack)}", file=sys.stderr)
        return 2
    judge = oracle(a.oracle)
    return 0 if all([record(n, a.out, judge) for n in names]) else 1


if __name__ == "__main__":
    sys.exit(main())
