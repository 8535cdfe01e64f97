"""A report with pictures, made once."""

from __future__ import annotations

import pytest
from sample_report import sample_report

from bas_edge.quantization.report import PrecisionReport


@pytest.fixture(scope="session")
def report(tmp_path_factory: pytest.TempPathFactory) -> PrecisionReport:
    return sample_report(tmp_path_factory.mktemp("photos"))
