"""Flow problems of the solver's tests."""

import json

from meshing.vessel import VesselMesh
from solver.io import mesh as mesh_file
from solver.problem import FlowProblem
from solver.scales import choose
from solver.system import FlowSystem


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


def system_on(comm, mesh, element):
    """The flow system of a mesh between pressures, on these ranks."""
    given = problem(
        mesh,
        {"kind": "pressure", "p": 12_000.0},
        {name: {"kind": "pressure", "p": 0.0} for name in outlets_of(mesh)},
        element=element,
    )
    vessel = VesselMesh.load(mesh)
    scales = choose(given, vessel.inlets[0].area, 0.03)
    return FlowSystem(given, mesh_file.load(comm, mesh, scales.length), scales, element)
