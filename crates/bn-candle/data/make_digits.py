"""Writes digits.npy from scikit-learn's copy of the handwritten digits (see README.md).

    python -m venv venv && venv/bin/pip install scikit-learn && venv/bin/python make_digits.py
"""

from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

digits = load_digits()
rows = np.concatenate([digits.data, digits.target[:, None]], axis=1)
assert rows.shape == (1797, 65) and rows.max() <= 16
np.save(Path(__file__).with_name("digits.npy"), rows.astype(np.uint8))
