"""Phantoms: synthetic metaphase spreads and chest films with exact truth, for tests, training and demo."""
