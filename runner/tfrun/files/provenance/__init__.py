"""Records what a run is made from when it starts, in the folder `provenance/` of the run, or of its sweep.

    recording   starts a process that collects it, and writes what it returns
    collect     that process: git, packages, machine, sources, one after the other
    git         the commit of a folder and its changes, without running what the repository names
    packages    the installed distributions, and where they are from
    machine     processor, memory, GPUs, kernel
    environment the variables that TensorFlow's results depend on
    imports     the modules that a plugin imports, found without importing them
    sources     the files of plugins and configs that git doesn't have
    record      reads a record, and says what differs between two
    installing  installs the packages of a record into a virtual environment
    versions    the versions of packages, for run.json

`collect` and what it imports need nothing but Python's own library: its process starts without any other.
"""
