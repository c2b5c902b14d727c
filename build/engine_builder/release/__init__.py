"""Making releases at central operations: keys, a signed repository in a folder, packs cut into chunks."""
