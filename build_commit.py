"""Put the commit into the wheel and the sdist; hatchling runs this when it builds them."""

import runpy
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class CommitHook(BuildHookInterface):  # type: ignore[type-arg]
    """Adds commit.txt to the package, unless it is there, as in an sdist."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Write the file and name it."""
        code = runpy.run_path(str(Path(self.root, "src/dlrun/system/commit.py")))
        if version == "editable" or code["FILE"].exists():
            return
        file = Path(self.root, "build", code["FILE"].name)
        file.parent.mkdir(exist_ok=True)
        file.write_text(f"{code['describe_commit']()}\n", encoding="ascii")
        package = "src/dlrun" if self.target_name == "sdist" else "dlrun"
        build_data["force_include"][str(file)] = f"{package}/{file.name}"
