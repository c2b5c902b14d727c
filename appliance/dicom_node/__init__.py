"""The DICOM node: films in and structured reports out by C-STORE; a client of the daemon like any other.

Importing `limits`, `listener`, `destination` or `node` imports pynetdicom (extra "dicom").
"""
