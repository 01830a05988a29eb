"""Fitting: closed-form and by gradient descent; what comes out is a `Model`."""

from earthloom.fit.model import Model, load_model, save_model

__all__ = ["Model", "load_model", "save_model"]
