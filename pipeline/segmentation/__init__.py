"""From a CT to its coronary lumen: network, training, inference. torch lives here."""
