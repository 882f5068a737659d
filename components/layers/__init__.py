"""Layers: impute.py (Impute), encode.py (DenseFeatures), cross.py (FeatureCross), dropout.py (Dropout)."""
