"""The commands. Each is a screen; the work is in the module of its name."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from seodang.base import ports
from seodang.base.ports import local
from seodang.cli import job_commands, prompt_commands
from seodang.cli.ask import ask
from seodang.cli.fetch import fetch_student
from seodang.cli.status import require_ready, show_status
from seodang.cli.stopping import reported, run_until_stopped
from seodang.cli.students import make_students
from seodang.cli.tool import run_tool
from seodang.cli.up import run_up

app = typer.Typer(
    name="seodang",
    help="One teacher, many students: run the mesh, distil, ask, report.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(job_commands.app, name="jobs")
app.add_typer(prompt_commands.app, name="prompts")
console = Console()

Folder = Annotated[Path, typer.Option(help="Where logs, state and reports go.")]
STUDENTS_STATE = Path("out/students/state/distill")
PASS_ON = {"allow_extra_args": True, "ignore_unknown_options": True}
FreePorts = Annotated[bool, typer.Option("--free-ports", help="Take free ports instead of the usual ones.")]


@app.callback()
def seodang() -> None:
    """One teacher, many students: run the mesh, distil, ask, report."""


@app.command()
def up(
    services: Annotated[list[str] | None, typer.Argument(help="Only these services; all when none is named.")] = None,
    folder: Folder = Path("out/up"),
    free_ports: FreePorts = False,
) -> None:
    """Run the mesh until Ctrl-C. A service that dies is started again by itself."""
    run_until_stopped(run_up(services or [], folder, free_ports, console), console)


@app.command()
def demo(folder: Folder = Path("out/demo")) -> None:
    """Go the whole way once: distil a student live, ask it through every adapter, report."""
    from seodang.cli.demo.run import run_demo  # nearly a second for plots and a robot's world

    run_until_stopped(run_demo(folder, console), console)


@app.command()
def students(
    names: Annotated[list[str] | None, typer.Argument(help="Only these students; all when none is named.")] = None,
    folder: Folder = Path("out/students"),
) -> None:
    """Distil the bundled students through the mesh into models/students."""
    run_until_stopped(make_students(names or [], folder, console), console)


@app.command()
def status() -> None:
    """Tell which services answer on their usual ports."""
    run_until_stopped(show_status(console), console)


@app.command()
def ready(address: Annotated[str, typer.Argument(help="host:port")]) -> None:
    """Succeed if the gRPC server at ADDRESS serves; for health checks."""
    run_until_stopped(require_ready(address), console)


@app.command("ask")
def ask_model(
    question: Annotated[str, typer.Argument(help="What to ask.")],
    model: Annotated[str, typer.Option(help="Resource name of a model.")] = "models/assistant",
    address: Annotated[str, typer.Option(help="host:port of the server that holds it.")] = local(ports.STUDENT),
    system: Annotated[str, typer.Option(help="System message, such as 'tools: home'.")] = "",
    max_new_tokens: Annotated[int, typer.Option(help="Longest answer, in tokens.")] = 128,
) -> None:
    """Ask one model one question."""
    run_until_stopped(ask(address, model, question, system, max_new_tokens, console), console)


@app.command("download")
def download_student(
    model: Annotated[str, typer.Argument(help="models/NAME, models/NAME@ALIAS or models/NAME/versions/NUMBER.")],
    to: Annotated[Path | None, typer.Option(help="Folder that it becomes; NAME-NUMBER here if not named.")] = None,
    address: Annotated[str, typer.Option(help="host:port of the distillation server.")] = local(ports.DISTILL),
) -> None:
    """Fetch a student's files; a download that broke off goes on."""
    run_until_stopped(fetch_student(address, model, to, console), console)


@app.command(context_settings=PASS_ON, add_help_option=False)
def plan(context: typer.Context) -> None:
    """Tell which layouts of a model fit on given devices; --help tells how to ask."""
    raise typer.Exit(run_tool("seodang.runtime.plan_command", context.args))


@app.command(context_settings=PASS_ON, add_help_option=False)
def lint(context: typer.Context) -> None:
    """Tell what will trip over a checkpoint, and repair a copy; --help tells how to ask."""
    raise typer.Exit(run_tool("seodang.runtime.lint_command", context.args))


@app.command(context_settings=PASS_ON, add_help_option=False)
def export(context: typer.Context) -> None:
    """Write a student as GGUF for llama.cpp, or as a transformers folder; --help tells how to ask."""
    raise typer.Exit(run_tool("seodang.runtime.export_command", context.args, needs="gguf", extra="export"))


@app.command()
def verify(
    student: Annotated[Path, typer.Argument(help="Folder of a student.")],
    key: Annotated[Path | None, typer.Option(help="Public key (PEM) of whoever must have signed it.")] = None,
    teacher: Annotated[Path | None, typer.Option(help="Folder of the teacher that it is said to come from.")] = None,
) -> None:
    """Check, offline, that a student is what it says it is: signature, files, lineage, teacher. Status 1 if not."""
    from seodang.cli.verify import verify_student  # half a second for the signature's library, only where it is used

    with reported(console):
        raise typer.Exit(0 if verify_student(student, key, teacher, console) else 1)


@app.command()
def lineage(
    student: Annotated[Path, typer.Argument(help="Folder of a student.")],
    mermaid: Annotated[bool, typer.Option("--mermaid", help="As the text of a Mermaid chart.")] = False,
    dot: Annotated[bool, typer.Option("--dot", help="As the text of a Graphviz graph.")] = False,
) -> None:
    """Draw what made a student: teachers, data, recipe, code, scores."""
    from seodang.cli.lineage import Drawing, draw_lineage

    with reported(console):
        draw_lineage(student, Drawing.MERMAID if mermaid else Drawing.DOT if dot else Drawing.TREE, console)


@app.command()
def sign(
    student: Annotated[Path, typer.Argument(help="Folder of a student.")],
    state: Annotated[Path, typer.Option(help="State folder of the distillation server that made it.")] = STUDENTS_STATE,
    job: Annotated[str, typer.Option(help="Id of the job that made it; the student's record.json tells it.")] = "",
    key: Annotated[Path | None, typer.Option(help="Private key (PEM); the server's own when none is named.")] = None,
) -> None:
    """Give a student its card and lineage, and sign it; what a distillation server publishes has all that already."""
    from seodang.cli.sign import sign_student

    with reported(console):
        sign_student(student, state, job, key, console)


@app.command()
def manifest(folder: Annotated[Path, typer.Argument(help="Folder of a job: STATE/jobs/ID.")]) -> None:
    """Print the TrainJob that a job is on a cluster, for `kubectl apply -f -`; SEODANG_KUBERNETES_* settings count."""
    from seodang.cli.manifest import manifest_of

    with reported(console):
        typer.echo(manifest_of(folder))
