from pathlib import Path

import pytest

from cxr_core.inference import registry
from cxr_core.inference.runtime import Classifier
from cxr_core.settings import ROOT
from tests.inference.tiny import make_tiny_model


@pytest.fixture
def tiny_model(tmp_path: Path) -> Path:
    """A model folder of its own, to spoil at will."""
    return make_tiny_model(tmp_path)


@pytest.fixture(scope="session")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Classifier:
    return registry.load(make_tiny_model(tmp_path_factory.mktemp("models")))


@pytest.fixture(scope="session")
def bundled_folder() -> Path:
    """The model that comes with the repository."""
    folder = ROOT / "models" / "cxr14-mobilenetv2"
    if not (folder / "manifest.toml").is_file():
        pytest.skip("the bundled model has not been made yet")
    return folder


@pytest.fixture(scope="session")
def bundled(bundled_folder: Path) -> Classifier:
    return registry.load(bundled_folder)
