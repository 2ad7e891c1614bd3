//! The benchmarks, one command.
