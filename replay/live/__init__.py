"""A model that is kept current: period files arrive, it is judged on them, refitted, published."""
