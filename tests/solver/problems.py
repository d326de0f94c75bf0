"""Flow problems of the solver's tests."""

import json

from solver.problem import FlowProblem


def outlets_of(mesh):
    """Names of a mesh's outlets."""
    patches = json.loads(mesh.read_text())["patches"]
    return sorted(patch["name"] for patch in patches if patch["role"] == "outlet")


def problem(mesh, inlet, outlets, **more):
    """Blood on linear elements."""
    return FlowProblem.model_validate(
        {
            "mesh": str(mesh),
            "element": "P1-P1",
            "rheology": {"kind": "newtonian", "viscosity": 3.5e-3},
            "inlet": inlet,
            "outlets": outlets,
            **more,
        }
    )
