"""VinDr-CXR as a user brings it: annotations, films, patient-wise split, and a report with intervals."""
