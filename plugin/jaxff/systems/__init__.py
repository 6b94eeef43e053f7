"""A potential evaluated for whole structures: one System for each kind of potential."""
