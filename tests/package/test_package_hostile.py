"""Files that were made to do harm do none, and are refused by name."""
import io
import json
import os
import pickle
import zipfile
import joblib
import numpy as np
import pytest
from model_ops.errors import PackageError
from model_ops.package import trusted
from model_ops.package.foreign import fetch
from model_ops.package.predictor import Predictor
from model_ops.package.sound import check_model
from model_ops.package.unpickle import buildable, skops_of_pickle

rng = np.random.default_rng(0)
X = rng.random((120, 3))
y = (X[:, 0] > X[:, 1]).astype(int)


class Evil:
    "Runs a command when it is unpickled."
    def __init__(self, call, *args): self.call, self.args = call, args
    def __reduce__(self): return self.call, self.args


@pytest.fixture
def mark(tmp_path): return tmp_path / "pwned"


def hostile(mark):
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import FunctionTransformer
    good, order = LogisticRegression().fit(X, y), f"touch {mark}"
    good.extra = Evil(os.system, order)
    objects = np.empty(2, dtype=object)
    objects[:] = [Evil(os.system, order), 1]
    return {"system": Evil(os.system, order), "exec": Evil(exec, f"open({str(mark)!r}, 'w')"), "inside": good, "function": FunctionTransformer(os.system), "objects": objects,
            "getattr": Evil(getattr, "x", "upper"), "import": Evil(__import__, "antigravity"), "open": Evil(open, str(mark), "w")}


@pytest.mark.parametrize("name", ["system", "exec", "inside", "function", "objects", "getattr", "import", "open"])
def test_a_hostile_pickle_is_refused_before_anything_is_called(mark, name):
    with pytest.raises(pickle.UnpicklingError, match="it holds"): _in_this_process(pickle.dumps(hostile(mark)[name]))
    assert not mark.exists()


@pytest.mark.slow
@pytest.mark.parametrize("name, compress", [("system", 0), ("inside", 3), ("objects", 0)])
def test_joblibs_own_ways_of_reading_are_closed_too(tmp_path, mark, name, compress):
    joblib.dump(hostile(mark)[name], tmp_path / "m.joblib", compress=compress)  # arrays of objects are read by a second unpickler
    with pytest.raises(PackageError, match="posix.system"): skops_of_pickle(tmp_path / "m.joblib")
    assert not mark.exists()


def _in_this_process(data):
    "The child's unpickler, tried here for speed: it refuses before anything is called."
    class Unpickler(pickle._Unpickler):
        def find_class(self, module, name):
            if not buildable(f"{module}.{name}"): raise pickle.UnpicklingError(f"it holds {module}.{name}")
            return super().find_class(module, name)
    return Unpickler(io.BytesIO(data)).load()


GUARDED = """
import sys, socket, subprocess, ctypes, pathlib, json, os
from model_ops.package.unpickle import _alone, _guarded
out = pathlib.Path(sys.argv[1]).resolve()
done = _alone()
_guarded(out)
found = {}
for name, call in {"process": lambda: subprocess.Popen(["true"]), "system": lambda: os.system("true"), "socket": lambda: socket.socket(), "library": lambda: ctypes.CDLL("libc.so.6"),
                   "elsewhere": lambda: open(out.parent/"elsewhere", "w"), "remove": lambda: os.remove(out/"keep"), "fork": lambda: os.fork()}.items():
    try: call(); found[name] = "done"
    except PermissionError: found[name] = "stopped"
(out/"found.json").write_text(json.dumps(found))
print(json.dumps([done, found]))
"""


def test_the_childs_process_can_do_little(tmp_path):
    import subprocess
    import sys
    out = tmp_path / "out"
    out.mkdir()
    (out / "keep").write_text("x")
    run = subprocess.run([sys.executable, "-c", GUARDED, str(out)], capture_output=True, text=True)
    _, found = json.loads(run.stdout)
    assert set(found.values()) == {"stopped"}, run.stderr


def test_a_pickle_that_never_ends_is_ended(tmp_path, monkeypatch):
    from sklearn.linear_model import LogisticRegression
    joblib.dump(LogisticRegression().fit(X, y), tmp_path / "m.pkl")
    monkeypatch.setattr("model_ops.package.unpickle._CHILD", "import time; time.sleep(60)")
    with pytest.raises(PackageError, match="within 1 s"): skops_of_pickle(tmp_path / "m.pkl", seconds=1)


def test_a_pickle_is_read_only_when_it_is_said(tmp_path):
    from sklearn.linear_model import LogisticRegression
    joblib.dump(LogisticRegression().fit(X, y), tmp_path / "m.pkl")
    with pytest.raises(PackageError, match="--unpickle"): fetch(tmp_path / "m.pkl")
    (tmp_path / "model.onnx").write_bytes((tmp_path / "m.pkl").read_bytes())  # a name says nothing
    with pytest.raises(PackageError, match="--unpickle"): fetch(tmp_path / "model.onnx")


@pytest.mark.slow
@pytest.mark.parametrize("thing, says", [({"model": 1, "scaler": 2}, "holds a dict with the keys"), ([1, 2], "no fitted estimator")], ids=["dict", "list"])
def test_what_is_no_estimator_is_said(tmp_path, thing, says):
    (tmp_path / "m.pkl").write_bytes(pickle.dumps(thing))
    with pytest.raises(PackageError, match=says): fetch(tmp_path / "m.pkl", allow_pickle=True)


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04nonsense", b"\x08\x00" + b"x" * 50, bytes(200)], ids=["empty", "text", "zip", "protobuf", "zeros"])
def test_what_is_no_model_is_refused(tmp_path, content):
    (tmp_path / "m.bin").write_bytes(content)
    with pytest.raises(PackageError): fetch(tmp_path / "m.bin", allow_pickle=True)


def test_a_skops_file_from_elsewhere_is_held_against_our_list(tmp_path):
    import skops.io
    from sklearn.preprocessing import FunctionTransformer
    skops.io.dump(FunctionTransformer(os.path.exists).fit(X), tmp_path / "m.skops")
    with pytest.raises(PackageError, match="exists"): fetch(tmp_path / "m.skops")


@pytest.mark.parametrize("flavors, says", [
    ("{sklearn: {pickled_model: ../outside.pkl}}", "which it does not hold"), ("{sklearn: {pickled_model: /etc/hostname}}", "which it does not hold"),
    ("{xgboost: {data: model.xgb}}", "sklearn and onnx"), ("!!python/object/apply:os.system [touch pwned]", "no MLflow model"), ("[", "no MLflow model")])
def test_an_mlflow_folder_names_files_of_its_own(tmp_path, flavors, says):
    (tmp_path / "outside.pkl").write_bytes(pickle.dumps(1))
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "MLmodel").write_text(f"flavors: {flavors}\n")
    with pytest.raises(PackageError, match=says): fetch(tmp_path / "m", allow_pickle=True)


def graph(domain="", location="", inner=False):
    import onnx
    from onnx import TensorProto, helper
    info = lambda name, shape: helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
    b = helper.make_tensor("b", TensorProto.FLOAT, [1], [1.0])
    if location:
        b.data_location = TensorProto.EXTERNAL
        b.external_data.add(key="location", value=location)
        b.ClearField("float_data")
    node = helper.make_node("Add", ["X", "b"], ["y"], domain=domain)
    if inner:
        branch = helper.make_graph([helper.make_node("Add", ["X", "b"], ["z"], domain=domain)], "branch", [], [info("z", [None, 1])], [b])
        node = helper.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=branch)
    c = helper.make_tensor("c", TensorProto.BOOL, [], [True])
    model = helper.make_model(helper.make_graph([node], "g", [info("X", [None, 1])], [info("y", [None, 1])], [c] if inner else [b]), ir_version=9, opset_imports=[onnx.helper.make_opsetid("", 18), *([helper.make_opsetid(domain, 1)] if domain else [])])
    return model.SerializeToString()


@pytest.mark.parametrize("inner", [False, True], ids=["plain", "branch"])
@pytest.mark.parametrize("more, says", [(dict(location="../../../../etc/passwd"), "reads another file"), (dict(location="/etc/passwd"), "reads another file"), (dict(location="weights.bin"), "reads another file"),
                                        (dict(domain="com.evil"), "calls com.evil.Add"), (dict(domain="com.microsoft"), "calls com.microsoft.Add")])
def test_an_onnx_file_leads_nowhere(tmp_path, boosted, write, more, says, inner):
    (tmp_path / "m.onnx").write_bytes(graph(**more, inner=inner))
    with pytest.raises(PackageError, match=says): fetch(tmp_path / "m.onnx")
    with pytest.raises(PackageError, match=says): write(tmp_path / "p", boosted, onnx=graph(**more, inner=inner))


@pytest.mark.parametrize("more", [dict(location="../secret"), dict(domain="com.evil")])
def test_a_forged_package_with_such_a_graph_is_not_opened(package, more):
    from test_package_code import edited
    (package.parent / "secret").write_bytes(b"\x00\x00\x80\x3f")
    (package / "model.onnx").write_bytes(graph(**more))
    edited(package, lambda m: None)
    with pytest.raises(PackageError, match="reads another file|cannot be opened"): Predictor.open(package)


def test_trees_of_a_forest_read_what_the_forest_reads():
    from sklearn.ensemble import RandomForestClassifier
    forest, wide = RandomForestClassifier(3, random_state=0).fit(X, y), RandomForestClassifier(3, random_state=0).fit(np.hstack([X * 0, X]), y)
    forest.estimators_[1] = wide.estimators_[1]
    with pytest.raises(PackageError, match="points outside"): trusted.load(trusted.dump(forest))


@pytest.mark.parametrize("change", [lambda m: m._y.__setitem__(3, 99), lambda m: m._y.__setitem__(3, -1), lambda m: setattr(m, "_y", m._y[:5]), lambda m: setattr(m, "_y", m._y.astype(float))])
def test_neighbours_vote_for_classes_that_exist(change):
    from sklearn.neighbors import KNeighborsClassifier
    model = KNeighborsClassifier(algorithm="brute").fit(X, y)
    change(model)
    with pytest.raises(PackageError, match="points outside"): trusted.load(trusted.dump(model))


def test_support_vectors_are_counted():
    from sklearn.svm import SVC, SVR
    for model in (SVC().fit(X, y), SVC().fit(X, (X[:, 0] * 3).astype(int)), SVR().fit(X, X[:, 0])): check_model(trusted.load(trusted.dump(model)))
    model = SVC().fit(X, y)
    model._n_support = model._n_support + 5
    with pytest.raises(PackageError, match="points outside"): trusted.load(trusted.dump(model))


def test_categories_of_boosted_trees_are_known():
    from sklearn.ensemble import HistGradientBoostingClassifier
    A = X.copy()
    A[:, 2] = (A[:, 2] * 4).astype(int)
    model = HistGradientBoostingClassifier(max_iter=3, categorical_features=[2], random_state=0).fit(A, A[:, 2] % 2)
    check_model(trusted.load(trusted.dump(model)))
    model._bin_mapper.is_categorical_ = np.zeros(3, dtype=model._bin_mapper.is_categorical_.dtype)
    with pytest.raises(PackageError, match="is_categorical"): trusted.load(trusted.dump(model))


def test_what_is_no_zip_inside_is_no_model(tmp_path):
    with zipfile.ZipFile(tmp_path / "m.zip", "w") as archive: archive.writestr("schema.json", "{" * 50_000)
    with pytest.raises(PackageError, match="cannot be read"): fetch(tmp_path / "m.zip")
