"""Generates Python code from Casement's protobuf files into gen/."""

import shutil
import sys
from importlib.resources import files
from pathlib import Path

from grpc_tools import protoc

HERE = Path(__file__).parent
PROTO = HERE / "../../../../proto"
GEN = HERE / "gen"

shutil.rmtree(GEN, ignore_errors=True)
GEN.mkdir()
sys.exit(
    protoc.main(
        [
            "protoc",
            f"-I{PROTO}",
            # Timestamp and the like come with the tools.
            f"-I{files('grpc_tools') / '_proto'}",
            f"--python_out={GEN}",
            f"--pyi_out={GEN}",
            *map(str, sorted(PROTO.rglob("*.proto"))),
        ]
    )
)
