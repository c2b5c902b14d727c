"""Model packs: what a pack promises, how it is verified, and which engine answers for a role right now."""
