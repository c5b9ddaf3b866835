"""Client work: the computation of one client in one round."""
