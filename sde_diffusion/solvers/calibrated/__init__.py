"""Few-step rules fitted to one model, and the solver that runs them."""
