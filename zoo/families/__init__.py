"""One module per family; `lwprof.zoo.registry` names them."""
