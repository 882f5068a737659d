"""The commands, one file each: `run(command_line)` does what the command is for and returns the exit code.

`tfrun.cli` imports a command's file only when the command is given.
"""
