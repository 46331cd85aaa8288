"""How protected packets move: one interface, one module a backend."""
