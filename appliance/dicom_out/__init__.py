"""What a film's answer looks like in DICOM: a structured report, a presentation state, a secondary capture.

Importing a module of this package, `reports` excepted, imports pydicom and highdicom (extra "dicom").
"""
