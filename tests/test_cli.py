import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import click
import pytest
import yaml
from click.testing import CliRunner

from vizecg import steps
from vizecg.cli import STEP_HELP, cli, evaluate_images, main

ROOT = Path(__file__).parent.parent
ROOMS = sorted(path.stem for path in (ROOT / "vizecg" / "cli").glob("[!_]*.py"))


def vizecg(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "vizecg", *arguments], cwd=cwd, capture_output=True, text=True, check=False
    )


def test_help_names_every_command():
    said = CliRunner().invoke(cli, ["--help"]).output
    for name in [*steps.NAMES, *cli.commands]:
        assert f"  {name} " in said


def test_every_step_has_a_sentence_of_help():
    assert tuple(STEP_HELP) == steps.NAMES


@pytest.mark.parametrize("room", ROOMS)
def test_every_command_that_a_room_makes_can_be_called(room):
    module = import_module(f"vizecg.cli.{room}")
    groups = [command for command in cli.commands.values() if isinstance(command, click.Group)]
    below = [command for group in groups for command in group.commands.values()]
    called = [*cli.commands.values(), *below, evaluate_images]
    forgotten = [name for name, made in vars(module).items() if isinstance(made, click.Command) and made not in called]
    assert forgotten == []


def test_help_loads_nothing_heavy():
    code = (
        "import sys; sys.argv = ['vizecg', '--help']\n"
        "from vizecg.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'mlflow', 'prefect', 'dvc', 'pandas', 'numpy', 'great_expectations', 'wfdb', 'cv2'}\n"
        "sys.exit(', '.join(heavy & set(sys.modules)) or 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert done.returncode == 0


def test_every_section_of_params_yaml_can_be_checked_without_what_steps_compute_with():
    code = (
        "import json, sys; from vizecg.steps import params_models; params_models(); print(json.dumps([*sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.split(".")[0] for name in json.loads(done.stdout)}
    heavy = {
        *("torch", "numba", "scipy", "cv2", "pandas", "mlflow", "onnxruntime", "sklearn", "wfdb", "boto3", "httpx")
    }
    assert loaded & heavy == set()
    assert "vizecg.comparing" in json.loads(done.stdout)


@pytest.mark.parametrize("step", steps.NAMES)
def test_a_step_asks_for_its_paths(step):
    done = CliRunner().invoke(cli, [step])
    assert done.exit_code == 2
    assert "Missing option '--" in done.output


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    return tmp_path


def test_a_typo_in_any_section_stops_the_first_step_with_one_sentence(folder):
    written = (folder / "params.yaml").read_text()
    (folder / "params.yaml").write_text(written.replace("\n  epochs:", "\n  epohcs:"))
    done = vizecg("ingest", "--source", "data/source.json", "--records", "data/records", cwd=folder)
    assert done.returncode == 2
    assert done.stderr.startswith("vizecg: params.yaml: train.epohcs is not a parameter (did you mean 'epochs'?)")
    assert done.stderr.count("\n") == 1
    assert not (folder / "data").exists()


def test_a_step_whose_input_is_not_there_says_what_to_produce(folder):
    done = vizecg("render", "--records", "data/records", "--pages", "data/pages", cwd=folder)
    assert (done.returncode, done.stderr) == (
        2,
        "vizecg: data/records is not there: it has no manifest.json; produce it first\n",
    )
    assert not (folder / "data" / "pages").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["page", "nowhere", "out.png"], "nowhere"),
        (["page", "nowhere", "out.gif"], "out.gif ends in '.gif'; a page can be written as .png, .jpg, .jpeg or .pdf"),
        (["page", "nowhere", "out.png", "--style", "5x5"], "there is no page style '5x5'; known: ['12x1', "),
        (["page", "nowhere", "out.png", "--preset", "drone"], "no camera preset 'drone'; known: ['scan', 'fax', "),
        (["page", "nowhere", "out.png", "--dpi", "5"], "5.0 is not in the range 30<=x<=600"),
        (["predict", "nowhere.png", "--bundle", "nowhere"], "nowhere"),
        (["predict"], "Missing argument 'IMAGES...'"),
        (["rollback"], "Missing option '--reason'"),
        (["demo", "--data", "nowhere.tar"], "DATA=nowhere.tar: there is no such folder or archive"),
        (["no-such-command"], "No such command 'no-such-command'"),
    ],
)
def test_what_cannot_be_done_is_said_without_a_traceback(folder, arguments, message):
    done = vizecg(*arguments, cwd=folder)
    assert done.returncode == 2
    assert message in done.stderr + done.stdout
    assert "Traceback" not in done.stderr


def test_two_steps_on_one_output_conflict(folder):
    from vizecg.publish import locked

    (folder / "data").mkdir()
    with locked(folder / "data" / "records"):
        done = vizecg("ingest", "--source", str(ROOT / "data/source.json"), "--records", "data/records", cwd=folder)
    assert done.returncode == 4
    assert "records is being written by another run (process" in done.stderr


def test_a_file_system_that_says_no_is_one_sentence(folder):
    (folder / "file").write_text("")
    done = vizecg("simulate", "file/x", cwd=folder)
    assert (done.returncode, done.stderr) == (2, "vizecg: file: File exists\n")


@pytest.mark.parametrize("command", ["retrain", "doctor", "gc", "deploy", "worker", "monitor"])
@pytest.mark.parametrize("above", ["a file", "a file system of the kernel"])
def test_a_state_folder_that_cannot_be_made_is_one_sentence(command, above, tmp_path, monkeypatch, capsys):
    (tmp_path / "file").touch()
    state = tmp_path / "file" / "state" if above == "a file" else Path("/proc/vizecg/state")
    monkeypatch.setenv("VIZECG_STATE_DIR", str(state))
    monkeypatch.setattr(sys, "argv", ["vizecg", command])
    with pytest.raises(SystemExit, match="2"):
        main()
    said = capsys.readouterr().err
    assert said.startswith(f"vizecg: the state folder {state} cannot be made or written (N")
    assert said.endswith("); set VIZECG_STATE_DIR to a folder that can\n")
    assert said.count("\n") == 1


@pytest.mark.parametrize("command", ["retrain", "gc", "deploy", "worker", "monitor", "models", "predict", "stack"])
def test_a_setting_that_is_not_allowed_is_one_sentence(command, monkeypatch, capsys):
    arguments = {"predict": ["page.png"], "stack": ["status"]}.get(command, [])
    monkeypatch.setenv("VIZECG_PATIENCE_S", "abc")
    monkeypatch.setattr(sys, "argv", ["vizecg", command, *arguments])
    with pytest.raises(SystemExit, match="2"):
        main()
    said = "VIZECG_PATIENCE_S is 'abc': input should be a valid number, unable to parse string as a number"
    assert capsys.readouterr().err == f"vizecg: {said}\n"


def test_an_error_of_a_library_that_only_descends_from_oserror_keeps_its_traceback(monkeypatch):
    from vizecg import cli as module

    def fails(**_: object) -> None:
        raise OSError("a fault of ours")

    monkeypatch.setattr(module.cli, "main", fails)
    with pytest.raises(OSError, match="a fault of ours"):
        module.main()


@pytest.mark.parametrize("address", ["s3://bucket/ptb-xl/1.0.3", "https://example.org/ptb-xl.zip"])
def test_the_demo_takes_addresses(address):
    from vizecg.places import source_of

    assert source_of(address) == (address, [f'ingest.source="{address}"'])


def test_a_folder_of_any_name_reaches_the_parameters_of_the_demo_whole(tmp_path):
    from vizecg.places import source_of

    place = tmp_path / "ECGs: ward #7"
    place.mkdir()
    source, (assigned,) = source_of(str(place))
    name, _, value = assigned.partition("=")
    assert (source, name, yaml.safe_load(value)) == (str(place), "ingest.source", str(place))
