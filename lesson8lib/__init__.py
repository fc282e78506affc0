"""Lesson 8 of fast.ai's Practical Deep Learning for Coders, as a literate library: built from scratch, proved equal to PyTorch's

Modules:

- `lesson8lib.collab`: What will this user give that film? Dot products, biases, and a hundred thousand ratings
- `lesson8lib.embedding`: Why looking up a row is a matrix product, and what an embedding is made of
- `lesson8lib.parameters`: How PyTorch knows what to train: `Parameter` and `Module`, taken apart and built again"""

__version__ = "0.1.0"
