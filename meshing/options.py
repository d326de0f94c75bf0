"""Every choice of the mesh generator."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class MeshOptions(BaseModel):
    """Sizes are counts a diameter, never millimetres, so that one setting fits every vessel."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    order: Literal[1, 2] = Field(
        default=2, description="1 straight; 2 curved tetrahedra, mid-edge nodes on the smooth wall"
    )
    elements_per_diameter: float = Field(default=5.0, ge=2, le=60)
    elements_across_throat: float = Field(
        default=6.0,
        ge=2,
        le=60,
        description="at least so many across the minimum lumen of a narrowing",
    )
    gradation: float = Field(
        default=0.3, gt=0, le=1, description="largest growth of size along length"
    )
    jet_growth: float = Field(
        default=0.03, gt=0, le=1, description="the same on the way downstream, behind a narrowing"
    )
    boundary_layers: int = Field(
        default=0, ge=0, le=10, description="prismatic layers, cut into tetrahedra"
    )
    boundary_layer_growth: float = Field(default=1.3, ge=1, le=2)
    max_cells: int = Field(
        default=4_000_000, ge=1000, description="refuse larger meshes before memory runs out"
    )
    min_dihedral_deg: float = Field(
        default=3.0, ge=0, description="worst dihedral angle accepted [degrees]"
    )
    min_scaled_jacobian: float = Field(
        default=0.02, gt=0, description="worst scaled Jacobian accepted"
    )


class SeriesOptions(BaseModel):
    """Several meshes of one lumen for a convergence study."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    levels: int = Field(default=3, ge=2, le=8)
    factor: float = Field(
        default=1.5, ge=1.1, le=4, description="sizes of a level over those of the next"
    )
    nested: bool = Field(
        default=False, description="cut every tetrahedron of the level before in eight (factor 2)"
    )
