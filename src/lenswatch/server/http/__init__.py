"""HTTP itself: operations, bodies, paging, health."""
