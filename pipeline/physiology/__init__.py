r"""Physiology: aortic pressure, resting flow, its split to the outlets, hyperaemia. Each formula in one function.

::

    MAP --- epicardial tree (3D) ---+--- R_1 --- pd
                                    +--- R_2 --- pd
                                    +--- ...

The microvascular resistances are assigned as if the epicardial tree had no resistance at rest,
$R_{rest,i} = (MAP - p_d) / Q_{rest,i}$ and $R_{hyp,i} = f R_{rest,i}$. So the computed flow is lower than
$Q_{rest} / f$ by what the epicardial tree takes, which is how a stenosis limits flow; autoregulation at rest
(which would have lowered the resistance behind a stenosis already) and collaterals are not modelled.

How sure the numbers are: the outlets' resistances are by far the largest uncertainty of a CT-FFR (Fossan et al. 2018,
https://doi.org/10.1007/s13239-018-00388-w). Every number that enters is in ``physiology.json`` with its source.
"""

from pipeline.physiology.formulas import ML_PER_MIN, MMHG, MMHG_S_PER_ML
from pipeline.physiology.problem import flow_problem

__all__ = ["ML_PER_MIN", "MMHG", "MMHG_S_PER_ML", "flow_problem"]
