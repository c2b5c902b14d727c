"""Generated from proto/appliance/v1 by proto/generate.py; do not edit."""
