"""The predicting process leaves out what nobody needs, and still loads every family of models."""

import json
import subprocess
import sys

import numpy as np
import pytest

from crucible.models.candidates import build_model

SCRIPT = """
import json, sys
from pathlib import Path
from crucible.worker.model_process import _Lean
sys.meta_path.insert(0, _Lean())
import numpy as np
from crucible.models.candidates import load_model
found = load_model(sys.argv[1], Path(sys.argv[2])).predict(np.load(sys.argv[3]))
print(json.dumps({"said": found.tolist(), "pandas": "pandas" in sys.modules}))
"""


@pytest.mark.parametrize("name", ["ridge", "lightgbm", "catboost", "mean"])
def test_every_family_predicts_the_same_there(name, recipe, tmp_path):
    generator = np.random.default_rng(0)
    x = generator.normal(size=(600, 23))
    model = build_model(name, recipe, tuple(f"f{i}" for i in range(23))).fit(x, 1e-3 * generator.normal(size=600))
    model.save(tmp_path)
    np.save(tmp_path / "x.npy", x[:5])
    command = [sys.executable, "-c", SCRIPT, name, str(tmp_path), str(tmp_path / "x.npy")]
    told = subprocess.run(command, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stderr[-2000:]
    found = json.loads(told.stdout)
    assert found["said"] == model.predict(x[:5]).tolist()
    assert found["pandas"] is (name in ("catboost", "mean"))
