"""The parts of scripts/bench.py.

cases.py: the models and data sets. setup.py: what a contender gets, and the reference that all have to agree with.
tfrun_run.py, keras_loops.py, orbit_loop.py, torch_loop.py: the loops. torch_worker.py: PyTorch's process.
contenders.py: the loops behind one interface, and the list of them. loops.py: the comparison. results.py: its numbers.
report.py: its tables. machine.py: memory, and what else runs.

start.py, memory.py, growth.py, stream.py, auto.py, graph.py, sweep.py: the other commands, each with its tables.
"""
