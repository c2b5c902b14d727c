"""Train, export, quantise, compare and pack the models; runs at central ops, never on the box."""
