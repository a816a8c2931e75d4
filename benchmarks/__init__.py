"""Speed and memory of snnkern beside what users have today: `python -m benchmarks.run --help`."""
