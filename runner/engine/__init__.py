"""What trains: everything here and in `tfrun.components` may import TensorFlow; nothing else does."""

import os

# XLA's older emitters of CPU kernels: half the time to compile, the same speed. A person's own flags follow and win.
os.environ["XLA_FLAGS"] = f"--xla_cpu_use_fusion_emitters=false {os.environ.get('XLA_FLAGS', '')}".rstrip()
