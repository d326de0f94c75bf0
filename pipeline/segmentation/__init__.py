"""From a CT to its coronary lumen: network, training, inference. torch lives here."""

from pathlib import Path

BUNDLED = Path(__file__).parent / "weights" / "coronary.safetensors"
"""The weights that come with the program."""
BUNDLED_WALLS = Path(__file__).parent / "weights" / "walls.safetensors"
"""Those of the wall network."""
