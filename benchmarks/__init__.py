"""Speed and memory of snnkern beside what users have today: `snnkern bench --help`."""
