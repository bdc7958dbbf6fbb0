"""A real PostgreSQL server for tests: the one on the machine, or else the one that the pgserver package carries."""

import importlib.util
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from psycopg import sql

AS_USER = "import os, sys; os.setuid(int(sys.argv[1])); os.execv(sys.argv[2], sys.argv[2:])"


class Postgres:
    """A server that listens on a socket in its own folder."""

    def __init__(self, folder: Path, binaries: Path, user: int | None) -> None:
        self._folder = folder
        self._binaries = binaries
        self._user = user

    def new_schema(self) -> str:
        """URL of a fresh, empty schema: for what is tested as good as a database, and made at once."""
        url = f"postgresql://postgres@/postgres?host={self._folder}"
        name = f"t{uuid.uuid4().hex}"
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(name)))
        return f"{url}&options=-csearch_path%3D{name}"

    def create(self) -> None:
        """Makes an empty cluster of databases."""
        self._run("initdb", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync")

    def start(self) -> None:
        """Starts it and waits until it answers."""
        options = f"-k {self._folder} -c listen_addresses= -c fsync=off -c full_page_writes=off -c max_connections=200"
        self._run("pg_ctl", "-l", self._folder / "log", "-w", "-o", options, "start")

    def stop(self) -> None:
        """Ends it as a crash would."""
        self._run("pg_ctl", "-m", "immediate", "-w", "stop")

    def _run(self, program: str, *arguments: str | Path) -> None:
        command = [self._binaries / program, "-D", self._folder / "data", *arguments]
        if self._user is not None:
            # The child changes its own user: with subprocess's ``user`` Python forks instead of using vfork, and in
            # a process where gRPC works meanwhile, gRPC's handlers crash one forked child in five.
            command = [sys.executable, "-c", AS_USER, str(self._user), *command]
        # The server keeps the output open, so it goes to a file: a pipe would never end.
        with tempfile.TemporaryFile("w+") as output:
            done = subprocess.run(
                command, cwd="/", stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
                env={"LC_ALL": "C", "PATH": os.environ["PATH"]}, check=False,
            )  # fmt: skip
            output.seek(0)
            assert done.returncode == 0, f"{program} ended with {done.returncode}: {output.read()}"


@contextmanager
def running_postgres() -> Iterator[Postgres]:
    """Starts a server and removes it again. PostgreSQL refuses to run as root, so root runs it as nobody."""
    # A socket's path may have 107 characters at most, so the folder is not a nested one.
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    user = pwd.getpwnam("nobody").pw_uid if os.getuid() == 0 else None
    try:
        server = Postgres(folder, _binaries(folder, user), user)
        if user is not None:
            os.chown(folder, user, -1)
        server.create()
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder)


def _binaries(folder: Path, user: int | None) -> Path:
    if installed := shutil.which("initdb"):
        return Path(installed).resolve().parent
    # Found, not imported: importing pgserver makes folders in the user's home.
    package = importlib.util.find_spec("pgserver")
    assert package is not None, "no initdb on PATH and no pgserver package: install PostgreSQL or pip install pgserver"
    assert package.origin is not None
    site = Path(package.origin).parent.parent
    if user is None:
        return site / "pgserver" / "pginstall" / "bin"
    # The environment may lie where nobody but root can read.
    for carried in ("pgserver/pginstall", "pgserver.libs"):
        shutil.copytree(site / carried, folder / carried, symlinks=True)
    return folder / "pgserver" / "pginstall" / "bin"
