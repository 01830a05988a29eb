"""Earthloom turns open satellite archives and a handful of labels into validated maps.

The way of the data, each arrow one package::

    archive -> cube -> chips -> encoders -> tasks -> maps -> assess
                                                       `---> serve

`earthloom.verbs` has the command line's verbs as functions, `earthloom.project` the project file.
"""

__version__ = "0.1.0"
