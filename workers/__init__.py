"""What runs beside the API: the jobs, the worker that carries them out, and the schedule that wakes it."""
