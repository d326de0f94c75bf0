"""What a running computation tells: one line and one history row a nonlinear step."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from solver.system import FlowSystem

log = logging.getLogger("solver")


@dataclass(slots=True)
class Progress:
    """Collects history rows and logs them on rank 0; calls ``keep`` after each accepted step.

    Attributes:
        rows: The history.
        keep: Saves a restart state now and then; None where nothing is kept.
    """

    rows: list[dict[str, Any]] = field(default_factory=list)
    keep: Callable[[FlowSystem], None] | None = None

    @property
    def linear_iterations(self) -> int:
        """Linear iterations of all steps."""
        return sum(int(row["linear_iterations"]) for row in self.rows)

    def step(self, system: FlowSystem, phase: str, numbers: dict[str, float]) -> None:
        """Record an accepted step; ``numbers`` holds residual, cfl (or time), linear_iterations."""
        Q, _ = system.functionals()
        flows = {
            name: float(q * system.scales.flow)
            for name, q in zip(system.openings.names, Q, strict=True)
        }
        row = {"step": len(self.rows) + 1, "phase": phase, **numbers, "Q": flows}
        self.rows.append(row)
        if system.comm.rank == 0:
            told = "  ".join(f"{name} {1e9 * q:.5g}" for name, q in flows.items())
            log.info(
                "%3d %-13s residual %.2e  CFL %.1e  linear %3d  Q [mm^3/s] %s",
                row["step"],
                phase,
                numbers["residual"],
                numbers.get("cfl", float("nan")),
                numbers["linear_iterations"],
                told,
            )
        if self.keep is not None:
            self.keep(system)
