"""What the recipes of the four factory packs name: network, calibration, metric and golden cases of each role."""
