"""A user's own YOLO11 detector → a model pack: its graph is read, judged, converted and packed."""
