"""The parts of scripts/bench.py.

The comparison with other loops: loops.py runs it, contenders.py lists the contenders behind one
interface, results.py computes ratios, report.py prints tables. The contenders' loops: tfrun_run.py,
keras_loops.py, orbit_loop.py and torch_loop.py, which runs in the process of torch_worker.py on a
task of torch_task.py. cases.py has the models and data sets, setup.py what a contender is built
from and the reference that all must agree with, machine.py memory and the load of other processes.

The other commands, each with its own tables: start.py, memory.py, growth.py, stream.py, auto.py, graph.py, sweep.py.
"""
