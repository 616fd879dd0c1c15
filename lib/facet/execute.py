"""Running notebooks: one (`run`), all of a profile through Snakemake (`report`), or in place (`refresh`).

python -m facet.execute report --profile small --only 11,30
python -m facet.execute run 11_twoview --profile smoke
python -m facet.execute refresh --only 11
python -m facet.execute readme
"""

import argparse
import fcntl
import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from facet import jobs, profiles
from facet.files import sha256, write_beside, write_json, write_text
from facet.jobs import Job
from facet.paths import NOTEBOOKS, REPORTS, ROOT, RUNS


class NotebookError(RuntimeError):
    """A notebook failed; the message names it, its cell, and the error."""


def kernel_environment(profile: str, **extra: str) -> dict[str, str]:
    """Environment of a notebook's kernel: the profile, its threads, quiet progress bars, repeatable sums."""
    threads = os.environ.get("FACET_THREADS") or str(profiles.load(profile).threads)
    return {
        "FACET_PROFILE": profile,
        "OMP_NUM_THREADS": threads,
        "MKL_NUM_THREADS": threads,
        "OPENBLAS_NUM_THREADS": threads,
        "OMP_WAIT_POLICY": "PASSIVE",
        "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
        "PYTHONHASHSEED": "0",
        "TQDM_DISABLE": "1",
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
        "OPEN3D_DISABLE_WEB_VISUALIZER": "true",  # it would print into the notebook
        "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT / "lib"), os.environ.get("PYTHONPATH")])),
        **extra,
    }


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def execute(notebook: Path, output: Path, *, parameters: dict, environment: dict[str, str]) -> float:
    """Run a notebook from a clean kernel in its own folder; the copy is written on failure too.

    Returns:
        Seconds taken.

    Raises:
        NotebookError: a cell failed.
    """
    import papermill

    logging.getLogger("papermill").setLevel(logging.ERROR)  # open3d's comm without a widget is no news
    began = time.monotonic()
    with write_beside(output) as temporary, _environment(environment):
        try:
            papermill.execute_notebook(
                notebook,
                temporary,
                parameters=parameters,
                kernel_name="python3",
                cwd=notebook.parent,
                progress_bar=False,
                store_widget_state=False,
                extra_arguments=["--log-level=50"],
            )
        except papermill.PapermillExecutionError as error:
            text = f"{error.ename}: {error.evalue}".strip()
            message = f"{notebook.stem} failed in cell [{error.exec_count}]: {text}"
            failure = NotebookError(message)
        else:
            failure = None
    if failure:
        raise failure
    return time.monotonic() - began


def run(job: Job) -> list[str]:
    """Execute one job: results wait in a stage, are moved into the report together, then the stamp is
    written.

    Returns:
        Names of the results, relative to `reports/<profile>`.

    Raises:
        NotebookError: a cell failed; what the report held before is untouched.
    """
    job.failure.unlink(missing_ok=True)
    try:
        seconds, names = _staged(job, job.executed, job.injected)
    except NotebookError as error:
        write_json(job.failure, {"job": job.name, "message": str(error), "copy": str(job.executed)})
        raise
    finally:
        if job.executed.is_file():
            to_page(job.executed)
    home = REPORTS / job.profile
    write_json(job.stamp, {"results": {n: sha256(home / n) for n in names}, "seconds": round(seconds, 1)})
    for old in job.stamp.parent.glob(f"{job.name}-{'[0-9a-f]' * 16}.json"):
        if old != job.stamp:
            old.unlink()
    return names


def _staged(job: Job, copy: Path, parameters: dict) -> tuple[float, list[str]]:
    """Execute a job's notebook; its results wait in a stage and are moved into the report together.

    Returns:
        Seconds, and the names of the results, relative to `reports/<profile>`.

    Raises:
        NotebookError: a cell failed; what the report held before is untouched.
    """
    import shutil

    from facet import report

    shutil.rmtree(job.stage, ignore_errors=True)
    job.stage.mkdir(parents=True)
    environment = kernel_environment(job.profile, FACET_STAGE=str(job.stage))
    seconds = execute(job.notebook, copy, parameters=parameters, environment=environment)
    return seconds, report.publish(job.stage, job.profile, job.name, {"total_seconds": round(seconds, 1)})


def to_page(executed: Path) -> None:
    """Render an executed copy as an HTML page beside it."""
    from nbconvert import HTMLExporter

    exporter = HTMLExporter(require_js_url="", exclude_input_prompt=True, exclude_output_prompt=True)
    html, _ = exporter.from_filename(str(executed))
    write_text(executed.with_suffix(".html"), html)


def refresh(only: str | Iterable[str] = (), *, profile: str = "small") -> None:
    """Execute notebooks in place and store them clean, as they are committed.

    Raises:
        NotebookError: a cell failed; that notebook and its results are left as they were, the others are
            done first.
    """
    from facet.notebooks import clean

    failures = []
    for job in jobs.find(profile, only=only):
        copy = RUNS / "refresh" / job.notebook.name
        try:
            seconds, _ = _staged(job, copy, {})
        except NotebookError as error:
            failures.append(f"{error} (see {copy})")
            print(failures[-1], flush=True)
            continue
        text = json.dumps(clean(json.loads(copy.read_text("utf-8"))), indent=1, ensure_ascii=False) + "\n"
        write_text(job.notebook, text)
        print(f"{job.name}: {seconds:.0f} s, {len(text.encode()):,} bytes", flush=True)
    if failures:
        raise NotebookError("\n".join(failures))


@contextmanager
def _alone(profile: str) -> Iterator[int]:
    """One report a profile at a time; the lock goes with the processes that hold it, however they end.

    Yields its file descriptor, which Snakemake inherits: it may outlive us.
    """
    (RUNS / profile).mkdir(parents=True, exist_ok=True)
    with open(RUNS / profile / ".lock", "w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise NotebookError(f"another report of profile {profile} is running") from None
        yield handle.fileno()


def report(
    profile: str = "small",
    only: str | Iterable[str] = (),
    *,
    seeds: Iterable[int] = (),
    cores: int | None = None,
    options: Iterable[str] = (),
) -> Path:
    """Regenerate a profile's report: every notebook whose key changed, then the page.

    Args:
        profile: name of the profile.
        only: numbers or names of notebooks, as in `jobs.find`.
        seeds: further seeds besides the profile's own.
        cores: processors that Snakemake may use at once; all by default.
        options: handed to Snakemake as they are (an executor for a cluster, for instance).

    Returns:
        Path of `reports/<profile>/index.html`.

    Raises:
        NotebookError: some notebooks failed; the others were run, and the page was written.
    """
    from facet import page

    wanted = jobs.find(profile, only=only, seeds=seeds)
    with _alone(profile) as lock:
        for job in wanted:
            job.forget_if_changed()
            job.failure.unlink(missing_ok=True)
        waiting = [job for job in wanted if not job.stamp.is_file()]
        print(f"profile {profile}: {len(waiting)} of {len(wanted)} notebooks to run", flush=True)
        status = _snakemake(profile, wanted, seeds, cores, options, lock) if waiting else 0
        index = page.write(profile)
    failed = [json.loads(j.failure.read_text("utf-8")) for j in wanted if j.failure.is_file()]
    lines = [f"{f['message']}\n  executed copy: {f['copy']}" for f in failed]
    if status and not lines:
        lines = [f"snakemake stopped with status {status}"]
    if lines:
        raise NotebookError("\n".join(lines))
    return index


def _snakemake(profile, wanted: list[Job], seeds, cores: int | None, options, lock: int) -> int:
    folder = RUNS / profile
    command = [sys.executable, "-m", "snakemake"]
    command += ["--snakefile", str(ROOT / "Snakefile"), "--directory", str(folder)]
    config = ["--config", f"profile={profile}", f"seeds={','.join(map(str, seeds)) or 'none'}"]
    if any((folder / ".snakemake" / "locks").glob("*")):
        # Left by a killed run: nobody else can be at work here, we hold the profile's own lock.
        subprocess.run([*command, "--unlock", *config], check=True, capture_output=True)
    return subprocess.run(
        [
            *command,
            *(str(job.stamp) for job in wanted),
            *("--cores", str(cores or os.cpu_count() or 1)),
            *("--keep-going", "--rerun-incomplete", "--rerun-triggers", "mtime", "--quiet", "all"),
            *options,
            *config,
        ],
        env={**os.environ, "PYTHONPATH": str(ROOT / "lib")},
        pass_fds=(lock,),
    ).returncode


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m facet.execute", description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("report", "run", "refresh", "index", "readme"):
        sub = commands.add_parser(name)
        sub.add_argument("--profile", default=os.environ.get("FACET_PROFILE") or profiles.DEFAULT)
        sub.add_argument("--only", default="", help="numbers or names, separated by commas")
        sub.add_argument("--seeds", default="", help="further seeds, separated by commas")
        if name == "report":
            sub.add_argument("--cores", "-j", type=int)
        if name == "run":
            sub.add_argument("notebook")
            sub.add_argument("--seed", type=int)
            sub.add_argument("--set", action="append", default=[], metavar="NAME=VALUE")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """The command line; 0 when everything ran, 1 when a notebook failed, 2 after bad input."""
    options, rest = _parser().parse_known_args(arguments)
    try:
        options.profile = profiles.shared(options.profile)
        if options.command == "report":
            seeds = [int(s) for s in options.seeds.replace(",", " ").split()]
            print(report(options.profile, options.only, seeds=seeds, cores=options.cores, options=rest))
        elif rest:
            raise ValueError(f"unknown argument {' '.join(rest)}")
        elif options.command == "refresh":
            refresh(options.only, profile=options.profile)
        elif options.command == "index":
            from facet import page

            print(page.write(options.profile))
        elif options.command == "readme":
            from facet import readme

            print(readme.write(options.profile))
        else:
            _run_one(options)
    except (NotebookError, FileNotFoundError, ValueError) as error:
        print(error, file=sys.stderr, flush=True)
        return 1 if isinstance(error, NotebookError) else 2
    return 0


def _run_one(options) -> None:
    import yaml

    parameters = {k: yaml.safe_load(v) for k, v in (p.split("=", 1) for p in options.set)}
    notebook = NOTEBOOKS / f"{Path(options.notebook).stem}.ipynb"
    if not notebook.is_file():
        raise FileNotFoundError(f"{notebook} does not exist")
    job = Job(notebook, options.profile, options.seed, parameters)
    began = time.monotonic()
    names = run(job)
    print(f"{job.name}: {time.monotonic() - began:.0f} s, {len(names)} results", flush=True)


if __name__ == "__main__":
    sys.exit(main())
