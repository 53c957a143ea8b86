"""`nox`: what a user installs, tried by the README's quick start, on the oldest and on the newest versions of what it needs.

Each session builds the wheel, looks at its size, and installs it into an environment of its own, with the runtime dependencies
and pandas, and nothing else; then it runs the README's Python, and dirty files on the command line.
"""

from pathlib import Path

import nox

nox.options.default_venv_backend = "uv|venv"

MOST_BYTES = 2**20
TRIED = ("tests/test_readme.py", "tests/test_first_hour.py")


@nox.session
def oldest(session: nox.Session) -> None:
    """The lower bounds of pyproject.toml."""
    _try(session, "-c", "tests/oldest.txt")


@nox.session
def newest(session: nox.Session) -> None:
    """Whatever is newest today."""
    _try(session)


def _try(session: nox.Session, *constraints: str) -> None:
    wheels = Path(session.create_tmp())
    for old in wheels.glob("*.whl"):
        old.unlink()
    session.install("hatchling", "build")
    session.run("python", "-m", "build", "--wheel", "--no-isolation", "--outdir", str(wheels))
    (wheel,) = wheels.glob("*.whl")
    if wheel.stat().st_size > MOST_BYTES:
        session.error(f"{wheel.name} has {wheel.stat().st_size:,} bytes; at most {MOST_BYTES:,} are allowed")
    session.install(str(wheel), "pandas", "pytest", *constraints)
    session.install("--force-reinstall", "--no-deps", str(wheel))  # an environment that is used again holds an older one
    session.run("python", "-m", "pytest", "-W", "default", "-p", "no:cacheprovider", *TRIED, *session.posargs)
