"""Commands over traces: fetch a corpus, import it, split it, publish the JSON Schemas. What `dvc.yaml` runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from selective_autonomy.params import ProcessParams
    from selective_autonomy.traces.importers.result import ImportResult

app = typer.Typer(no_args_is_help=True, help="Fetch, import and split traces; publish their JSON Schemas.")


class Corpus(StrEnum):
    """The public corpora that can be fetched."""

    star = "star"
    abcd = "abcd"


Process = Annotated[str, typer.Argument(help="A process of params.yaml, e.g. broadband, star, abcd.")]
Params = Annotated[Path, typer.Option(help="The file of tuned numbers.")]
Data = Annotated[Path, typer.Option(help="The folder that holds raw/, canonical/, splits/ and manifests/.")]


@app.command()
def fetch(
    corpus: Corpus,
    source: Annotated[
        Path | None,
        typer.Option("--from", help="A folder with the corpus; without it, STAR's public home."),
    ] = None,
    data: Data = Path("data"),
) -> None:
    """Put a public corpus into data/raw, verified against data/manifests."""
    from selective_autonomy.traces.fetch import fetch_abcd, fetch_star
    from selective_autonomy.traces.importers.manifest import read_manifest

    out, manifest = data / "raw" / corpus.value, read_manifest(data / "manifests" / f"{corpus.value}.sha256")
    if corpus is Corpus.star:
        unlisted = fetch_star(out, source, manifest=manifest)
        typer.echo(f"{out}: {len(manifest)} parts verified, {unlisted} more that the manifest does not list")
    else:
        fetch_abcd(out, source, manifest=manifest)
        typer.echo(f"{out}: verified")


@app.command(name="import")
def import_traces(
    process: Process,
    all_dialogues: Annotated[
        bool, typer.Option("--all", help="STAR: also what the manifest does not list (then splits differ).")
    ] = False,
    params: Params = Path("params.yaml"),
    data: Data = Path("data"),
) -> None:
    """Turn a process's raw traces into data/canonical/PROCESS: sessions, process schema, import report."""
    from selective_autonomy.params import load_params
    from selective_autonomy.traces.importers.result import save_import

    chosen = load_params(params).process(process)
    with _progress(f"importing {process}", chosen.cases or None) as advance:
        result = _import(process, chosen, data, advance, listed_only=not all_dialogues)
    out = data / "canonical" / process
    digest = save_import(result, out)
    report = result.report
    typer.echo(
        f"{out}: {report.sessions} sessions ({report.complete_with_step} complete with a step), {report.steps} steps, "
        f"{report.operators} operators, {report.illegal_count} illegal steps; sha256 {digest[:12]}"
    )


@app.command()
def split(process: Process, params: Params = Path("params.yaml"), data: Data = Path("data")) -> None:
    """Split data/canonical/PROCESS into train / fit / calibrate / test: data/splits/PROCESS.parquet."""
    from selective_autonomy.params import load_params
    from selective_autonomy.traces.splits import SPLITS, assign_splits, check_splits, write_splits
    from selective_autonomy.traces.store import read_sessions

    shares = load_params(params).process(process).split
    sessions = read_sessions(data / "canonical" / process / "sessions.parquet")
    splits = assign_splits(sessions, shares)
    check_splits(splits, sessions)
    out = data / "splits" / f"{process}.parquet"
    write_splits(splits, out)
    sizes = ", ".join(f"{name} {sum(side == name for side in splits.values())}" for name in SPLITS)
    typer.echo(f"{out}: {sizes}; {len(sessions) - len(splits)} sessions left out (unfinished or without a step)")


@app.command()
def schemas(
    check: Annotated[bool, typer.Option("--check", help="Write nothing; fail if a published file is stale.")] = False,
    out: Annotated[Path, typer.Option(help="Where the JSON Schemas are published.")] = Path("docs/schemas"),
) -> None:
    """Publish the JSON Schemas of sessions and process schemas."""
    from selective_autonomy.errors import ProcessError
    from selective_autonomy.traces.json_schemas import publish_schemas, stale_schemas

    if not check:
        typer.echo("\n".join(str(path) for path in publish_schemas(out)))
    elif stale := stale_schemas(out):
        names = ", ".join(path.name for path in stale)
        raise ProcessError(f"published schemas are stale: {names}; run `selective-autonomy traces schemas`")


def _import(
    process: str, chosen: ProcessParams, data: Path, on_session: Callable[[], None], *, listed_only: bool
) -> ImportResult:
    raw, manifests = data / "raw" / process, data / "manifests"
    match chosen.source:
        case "desk":
            return _simulate(chosen, on_session)
        case "star":
            from selective_autonomy.traces.importers.manifest import read_manifest
            from selective_autonomy.traces.importers.star import import_star

            manifest = read_manifest(manifests / "star.sha256") if listed_only else None
            return import_star(raw, manifest=manifest, on_session=on_session)
        case "abcd":
            from selective_autonomy.traces.importers.abcd import import_abcd
            from selective_autonomy.traces.importers.manifest import read_manifest

            return import_abcd(raw, manifest=read_manifest(manifests / "abcd.sha256"), on_session=on_session)
        case "jsonl":
            from selective_autonomy.process.schema import load_process
            from selective_autonomy.traces.importers.jsonl import find_sessions, import_jsonl

            return import_jsonl(find_sessions(raw), load_process(raw / "process.yaml"), on_session=on_session)


def _simulate(chosen: ProcessParams, on_session: Callable[[], None]) -> ImportResult:
    from selective_autonomy.desk.process import load_desk_process
    from selective_autonomy.desk.simulate import simulate_sessions
    from selective_autonomy.traces.importers.result import conclude

    sessions = simulate_sessions(chosen.seed, chosen.cases, on_case=on_session)
    return conclude(sessions, load_desk_process(), source=f"embedded desk, seed {chosen.seed}")


@contextmanager
def _progress(what: str, total: int | None) -> Iterator[Callable[[], None]]:
    """A bar on standard error; the block calls what it is given once for each case done."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:
        task = bars.add_task(what, total=total)
        yield lambda: bars.advance(task)
