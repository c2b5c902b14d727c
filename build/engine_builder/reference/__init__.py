"""What the recipes of the factory packs name: network, calibration, metric and golden cases of each role."""
