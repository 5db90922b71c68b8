"""Nothing we load writes outside the checkout or reports home unless somebody wants it to."""

import os
import subprocess
import sys

import pytest

from vizecg import NOTHING_REPORTS_HOME

LOAD = {
    "onnxruntime": "import vizecg.predictor, onnxruntime; onnxruntime.SessionOptions(); onnxruntime.get_device()",
    "mlflow": "import vizecg, mlflow",
}
# An identifier of the device is what a library writes first when it is about to report.
SESSION = (
    "import onnx, onnxruntime\n"
    "from onnx import TensorProto, helper\n"
    "value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in 'xy']\n"
    "graph = helper.make_graph([helper.make_node('Relu', ['x'], ['y'])], 'g', value[:1], value[1:])\n"
    "model = helper.make_model(graph, opset_imports=[helper.make_opsetid('', 20)], ir_version=9)\n"
    "onnxruntime.InferenceSession(model.SerializeToString(), providers=['CPUExecutionProvider'])\n"
)


def files_in_home_after(code, home):
    environment = {name: value for name, value in os.environ.items() if name not in NOTHING_REPORTS_HOME}
    environment.pop("CI", None)  # libraries report less where they think nobody is looking
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**environment, "HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [path.relative_to(home).as_posix() for path in home.rglob("*") if path.is_file()]


@pytest.mark.parametrize("name", LOAD)
def test_loading_what_we_use_leaves_no_trace_in_home(name, tmp_path):
    assert files_in_home_after(LOAD[name], tmp_path) == []


def test_running_a_model_leaves_no_identifier_of_the_device(tmp_path):
    assert files_in_home_after("import vizecg\n" + SESSION, tmp_path) == []


def test_without_us_the_same_model_would_leave_one(tmp_path):
    if sys.platform != "linux":
        pytest.skip("only onnxruntime's Linux and Windows builds report")
    assert any("deviceid" in name for name in files_in_home_after(SESSION, tmp_path))
