"""Data and experiments shared by a team: DVC with a real S3 server as its remote."""

import csv
import io
import json
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from vizecg import steps
from vizecg.publish import sha256_of

README = (Path(__file__).parent.parent / "README.md").read_text()
FOLDERS = ("data", "models", "reports")
EXPERIMENT = "no-distillation"
BUCKET = "team"
# Of few files: a refusal is the same for each, and each takes its time.
SMALL_STAGE = "validate"

pytestmark = [pytest.mark.servers, pytest.mark.xdist_group("pipeline")]


def bytes_of(checkout) -> dict[str, str]:
    """SHA-256 of every file that the stages have made, by its path."""
    files = (path for name in FOLDERS for path in (checkout.folder / name).rglob("*") if path.is_file())
    return {str(path.relative_to(checkout.folder)): sha256_of(path) for path in files if path.suffix != ".lock"}


@pytest.fixture(scope="module")
def keys(dvc_s3_server):
    return {
        "AWS_ACCESS_KEY_ID": dvc_s3_server.access_key_id,
        "AWS_SECRET_ACCESS_KEY": dvc_s3_server.secret_access_key,
    }


@pytest.fixture(scope="module")
def team(checkout, dvc_s3_server, keys, tmp_path_factory):
    """A checkout that has pushed what it made: files to the S3 server, commits to a bare git repository."""
    dvc_s3_server.bucket(BUCKET)
    folder = tmp_path_factory.mktemp("team")
    made = checkout.copy_to(folder / "checkout")
    made.dvc("remote", "add", "--default", "team", f"s3://{BUCKET}/vizecg")
    made.dvc("remote", "modify", "team", "verify", "true")
    made.dvc("remote", "modify", "--local", "team", "endpointurl", dvc_s3_server.endpoint_url)
    # DVC asks git who it is before it records an experiment.
    for command in (["config", "user.name", "a"], ["config", "user.email", "a@b"], ["add", "-A"]):
        made.git(*command)
    made.git("commit", "-qm", "the first run and where it is shared")
    made.git("init", "-q", "--bare", "-b", "main", str(folder / "hub.git"))
    made.git("remote", "add", "origin", str(folder / "hub.git"))
    made.git("push", "-q", "origin", "main")
    made.dvc("push", "--run-cache", environment=keys)
    return made


@pytest.fixture(scope="module")
def experiment(team):
    """What `dvc exp run` says; afterwards the checkout holds the experiment's files."""
    done = team.dvc("exp", "run", "--name", EXPERIMENT, "-S", "train.distillation.weight=0")
    return done.stdout


@pytest.fixture
def colleague(team, dvc_s3_server, tmp_path):
    """A fresh clone with nothing in it but what git has."""
    team.git("clone", "-q", str(team.folder.parent / "hub.git"), str(tmp_path / "clone"))
    clone = type(team)(folder=tmp_path / "clone")
    clone.dvc("remote", "modify", "--local", "team", "endpointurl", dvc_s3_server.endpoint_url)
    return clone


def test_a_colleague_pulls_byte_for_byte_what_was_pushed(checkout, colleague, keys):
    colleague.dvc("pull", environment=keys)
    assert bytes_of(colleague) == bytes_of(checkout)
    assert "Data and pipelines are up to date" in colleague.dvc("status").stdout
    assert "are in sync" in colleague.dvc("status", "--cloud", environment=keys).stdout
    assert colleague.git("status", "--porcelain") == ""


def test_what_is_lost_here_is_pulled_again(checkout, colleague, keys):
    colleague.dvc("pull", environment=keys)
    shutil.rmtree(colleague.folder / ".dvc" / "cache")
    colleague.git("clean", "-qfdX", *FOLDERS)
    assert bytes_of(colleague).keys() < bytes_of(checkout).keys()
    colleague.dvc("pull", environment=keys)
    assert bytes_of(colleague) == bytes_of(checkout)


def test_with_the_run_cache_a_fresh_clone_runs_nothing_even_without_the_lock(colleague, checkout, keys):
    colleague.dvc("pull", "--run-cache", environment=keys)
    assert colleague.dvc("repro").stdout.count("didn't change, skipping") == len(steps.NAMES)
    (colleague.folder / "dvc.lock").unlink()
    said = colleague.dvc("repro").stdout
    assert said.count("is cached - skipping run") == len(steps.NAMES)
    assert colleague.manifests() == checkout.manifests()


# One client of the store serves both.
@pytest.mark.parametrize("command", [pytest.param("push", marks=pytest.mark.slow), "pull"])
def test_a_wrong_secret_is_refused_and_not_repeated(colleague, keys, command):
    wrong = keys | {"AWS_SECRET_ACCESS_KEY": "not-the-secret"}
    done = colleague.dvc(command, SMALL_STAGE, check=False, environment=wrong)
    assert done.returncode != 0
    assert "Forbidden" in done.stderr
    assert "not-the-secret" not in done.stdout + done.stderr


def test_without_keys_it_says_so(colleague, tmp_path):
    none = dict.fromkeys(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), "")
    files = dict.fromkeys(("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"), str(tmp_path / "none"))
    nowhere = files | {"AWS_EC2_METADATA_DISABLED": "true"}
    done = colleague.dvc("pull", SMALL_STAGE, check=False, environment=none | nowhere)
    assert done.returncode != 0
    assert "Unable to locate credentials" in done.stderr


def test_git_holds_the_address_and_neither_keys_nor_this_machine(team, keys, dvc_s3_server):
    held = "".join((team.folder / name).read_text() for name in team.git("ls-files", ".dvc").splitlines())
    assert f"s3://{BUCKET}/vizecg" in held
    assert dvc_s3_server.endpoint_url not in held
    everything = (team.folder / ".dvc" / "config.local").read_text() + held
    assert not [key for key in keys.values() if key in everything]


def test_an_object_damaged_in_the_store_is_not_taken_for_the_real_one(colleague, dvc_s3_server, keys):
    stored = dvc_s3_server.store / BUCKET / "vizecg" / "files" / "md5"
    signals = max((path for path in stored.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
    whole = signals.read_bytes()
    try:
        signals.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        assert colleague.dvc("pull", check=False, environment=keys).returncode != 0
    finally:
        signals.write_bytes(whole)
    colleague.dvc("pull", environment=keys)


def test_an_experiment_runs_only_what_its_parameter_changes(experiment, team):
    assert re.findall(r"Running stage '(\w+)'", experiment) == ["train", "evaluate", "register"]
    assert re.findall(r"Stage '(\w+)' didn't change", experiment) == ["ingest", "render", "validate"]
    changed = {line[3:] for line in team.git("status", "--porcelain").splitlines()}
    assert changed == {"dvc.lock", "params.yaml"}
    refs = team.git("for-each-ref", "--format=%(refname)").splitlines()
    assert [ref for ref in refs if ref.endswith(f"/{EXPERIMENT}")], "it is a commit of its own, off every branch"


def test_exp_show_holds_experiments_side_by_side(experiment, team):
    assert experiment
    rows = {row["Experiment"] or row["rev"]: row for row in csv.DictReader(io.StringIO(shown(team)))}
    assert rows.keys() == {"workspace", "main", EXPERIMENT}
    weights = {name: float(row["train.distillation.weight"]) for name, row in rows.items()}
    assert weights == {"workspace": 0, "main": 1, EXPERIMENT: 0}
    scored = json.loads((team.folder / "reports" / "metrics.json").read_text())["macro"]["auroc"]
    assert float(rows[EXPERIMENT]["macro.auroc"]) == float(rows["workspace"]["macro.auroc"]) == scored
    assert float(rows["main"]["macro.auroc"]) != scored


def shown(checkout) -> str:
    return checkout.dvc("exp", "show", "--csv").stdout


def test_plots_diff_draws_every_plot_of_both(experiment, team):
    assert experiment
    drawn = json.loads(team.dvc("plots", "diff", "main", EXPERIMENT, "--json").stdout)["data"]
    declared = [name for plot in yaml.safe_load((team.folder / "dvc.yaml").read_text())["plots"] for name in plot]
    assert {name.rpartition("::")[2] for name in drawn} == set(declared)
    for plots in drawn.values():
        points = [point for plot in plots for point in plot["content"]["data"]["values"]]
        assert {point["rev"] for point in points} == {"main", EXPERIMENT}
    curve = [point for plot in drawn["Learning curve"] for point in plot["content"]["data"]["values"]]
    by_head = {(point["rev"], point["epoch"]): point["image"] for point in curve}
    assert by_head["main", "2"] != by_head[EXPERIMENT, "2"]


def test_plots_diff_is_a_page_for_people(experiment, team, tmp_path):
    assert experiment
    team.dvc("plots", "diff", "main", "--targets", "reports/evaluation/roc_NORM.csv", "--out", str(tmp_path / "page"))
    page = (tmp_path / "page" / "index.html").read_text()
    assert "false_positive_rate" in page
    assert "workspace" in page


def test_a_colleague_takes_over_an_experiment(experiment, team, colleague, keys):
    assert experiment
    team.dvc("exp", "push", "origin", EXPERIMENT, environment=keys)
    colleague.dvc("exp", "pull", "origin", EXPERIMENT, environment=keys)
    colleague.dvc("exp", "apply", EXPERIMENT)
    assert bytes_of(colleague) == bytes_of(team)
    assert yaml.safe_load((colleague.folder / "params.yaml").read_text())["train"]["distillation"]["weight"] == 0


def test_an_experiment_in_a_copy_is_registered_where_the_others_are(checkout, tmp_path):
    mine = as_people_start_it(checkout, tmp_path)
    before = bytes_of(mine)
    said = run_plainly(mine, "exp", "run", "--temp", "-S", "register.probability_tolerance=0.03").stdout
    registered = re.search(r"bundle (\w+), registered as vizecgnet version 2", said)
    assert registered
    assert registered[1] in mine.vizecg("models").stdout
    assert bytes_of(mine) == before
    assert mine.git("status", "--porcelain") == ""


def as_people_start_it(checkout, tmp_path):
    mine = checkout.copy_to(tmp_path / "mine")
    for command in (["config", "user.name", "a"], ["config", "user.email", "a@b"], ["add", "-A"]):
        mine.git(*command)
    mine.git("commit", "-qm", "the first run")
    return mine


def plain(checkout) -> dict[str, str]:
    """The environment of somebody who has set nothing of ours."""
    return {name: value for name, value in checkout.environment.items() if not name.startswith("VIZECG_")}


def run_plainly(checkout, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "dvc", *arguments]
    return subprocess.run(
        command, cwd=checkout.folder, env=plain(checkout), check=True, capture_output=True, text=True, timeout=300
    )


@pytest.mark.slow  # the step is the one that test_pipeline kills below `dvc repro`
def test_killing_an_experiment_kills_the_step_it_runs(checkout, tmp_path):
    mine = as_people_start_it(checkout, tmp_path)
    copies = mine.folder / ".dvc" / "tmp" / "exps"
    process = subprocess.Popen(
        [sys.executable, "-m", "dvc", "exp", "run", "--temp", "-S", "train.epochs=50"],
        cwd=mine.folder,
        env=plain(mine),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    wait_for(lambda: list(copies.rglob("models/.run.part")))
    process.send_signal(signal.SIGKILL)
    process.wait()
    wait_for(lambda: not working_below(copies), seconds=30)
    assert not list(copies.rglob("models/run/manifest.json")), "it ended by itself"


def wait_for(condition, *, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def working_below(folder: Path) -> list[str]:
    """Names of the steps that run somewhere below `folder`."""
    running = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            here = (process / "cwd").resolve()
            words = (process / "cmdline").read_bytes().decode().split("\0")
        except OSError:
            continue
        if here.is_relative_to(folder.resolve()) and "vizecg" in words:
            running.append(words[words.index("vizecg") + 1])
    return running


@pytest.mark.parametrize(
    "line", sorted({line for line in README.splitlines() if line.startswith("dvc ")}), ids=lambda line: line[:40]
)
def test_every_dvc_command_of_the_readme_is_one(line):
    from dvc.cli.parser import get_main_parser

    words = shlex.split(line, comments=True)[1:]
    assert get_main_parser().parse_args(words).func
