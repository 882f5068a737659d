"""The environment variables that results depend on.

A list of names, no pattern: other programs keep passwords in variables that begin with `TF_`, Terraform for example.
"""

from __future__ import annotations

from collections.abc import Mapping

from tfrun.files.masking import masked
from tfrun.files.xla_cache import FLAG, cache_folder

MAX_CHARACTERS = 1000  # of a value
NAMES = (
    # which devices, and how much of them
    "CUDA_DEVICE_ORDER",
    "CUDA_VISIBLE_DEVICES",
    "HIP_VISIBLE_DEVICES",
    "TF_CUDA_HOST_MEM_LIMIT_IN_MB",
    "TF_FORCE_GPU_ALLOW_GROWTH",
    "TF_GPU_ALLOCATOR",
    "TF_GPU_HOST_MEM_LIMIT_IN_MB",
    "TF_GPU_THREAD_COUNT",
    "TF_GPU_THREAD_MODE",
    # threads
    "GOMP_CPU_AFFINITY",
    "KMP_AFFINITY",
    "KMP_BLOCKTIME",
    "MKL_NUM_THREADS",
    "OMP_NUM_THREADS",
    "OMP_PLACES",
    "OMP_PROC_BIND",
    "OPENBLAS_NUM_THREADS",
    "TF_NUM_INTEROP_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    # how operations are computed
    "CUBLAS_WORKSPACE_CONFIG",
    "CUDA_LAUNCH_BLOCKING",
    "DNNL_MAX_CPU_ISA",
    "MKL_CBWR",
    "MKL_ENABLE_INSTRUCTIONS",
    "NVIDIA_TF32_OVERRIDE",
    "ONEDNN_DEFAULT_FPMATH_MODE",
    "ONEDNN_MAX_CPU_ISA",
    "OPENBLAS_CORETYPE",
    "TF_CUDNN_DETERMINISTIC",
    "TF_CUDNN_USE_AUTOTUNE",
    "TF_CUDNN_USE_FRONTEND",
    "TF_CUDNN_WORKSPACE_LIMIT_IN_MB",
    "TF_DETERMINISTIC_OPS",
    "TF_DISABLE_MKL",
    "TF_DISABLE_RZ_CHECK",
    "TF_ENABLE_AUTO_MIXED_PRECISION",
    "TF_ENABLE_CUBLAS_TENSOR_OP_MATH_FP32",
    "TF_ENABLE_CUDNN_RNN_TENSOR_OP_MATH_FP32",
    "TF_ENABLE_CUDNN_TENSOR_OP_MATH_FP32",
    "TF_ENABLE_MLIR_OPTIMIZATIONS",
    "TF_ENABLE_ONEDNN_OPTS",
    "TF_ENABLE_WINOGRAD_NONFUSED",
    "TF_FORCE_UNIFIED_MEMORY",
    "TF_FUNCTION_JIT_COMPILE_DEFAULT",
    "TF_USE_CUBLASLT",
    "TF_USE_CUDNN_BATCHNORM_SPATIAL_PERSISTENT",
    "TF_XLA_FLAGS",
    "XLA_FLAGS",
    # Keras and Python
    "KERAS_BACKEND",
    "KERAS_HOME",
    "PYTHONHASHSEED",
    "PYTHONOPTIMIZE",
    "TF_USE_LEGACY_KERAS",
    "TF_KERAS",
)


def read_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Returns those variables of the list that are set, without users and passwords of addresses."""
    kept = {name: environment[name] for name in NAMES if name in environment}
    if "TF_XLA_FLAGS" in kept:  # tfrun itself adds where programs are kept
        ours = f"{FLAG}{cache_folder()}"
        flags = " ".join(flag for flag in kept["TF_XLA_FLAGS"].split() if not flag.startswith(ours))
        kept = {**kept, "TF_XLA_FLAGS": flags}
        if not flags:
            del kept["TF_XLA_FLAGS"]
    return {name: masked(value)[:MAX_CHARACTERS] for name, value in kept.items()}
