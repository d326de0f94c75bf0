"""From a lumen to FFR: surface, anatomy, mesh, flow, report."""
