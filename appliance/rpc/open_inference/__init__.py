"""The Open Inference Protocol: what is served under which name, and tensors off and onto the wire."""
