"""NeuraRay: chest X-ray triage. Read `pipeline.py` first."""

__version__ = "0.9.0"
