"""The fixtures of the end-to-end tests, for attacks on the same programs."""

import importlib.util
import pathlib
import sys

E2E = pathlib.Path(__file__).resolve().parents[1] / "e2e"
sys.path.insert(0, str(E2E))

specification = importlib.util.spec_from_file_location("e2e_conftest", E2E / "conftest.py")
shared = importlib.util.module_from_spec(specification)
specification.loader.exec_module(shared)
globals().update({name: value for name, value in vars(shared).items() if not name.startswith("__")})
